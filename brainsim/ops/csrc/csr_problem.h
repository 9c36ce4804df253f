// What the handlers of products on compressed rows have in common: the sizes, read from the arrays and checked.

#ifndef BRAINSIM_CSR_PROBLEM_H_
#define BRAINSIM_CSR_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "csr_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

struct Problem {
  Rows rows;
  int64_t groups, batch;
};

inline bool has_shape(const Any& array, std::initializer_list<int64_t> shape) {
  const auto dims = array.dimensions();
  return std::equal(dims.begin(), dims.end(), shape.begin(), shape.end());
}

// A vector [G, B, n], or [n] for G = B = 1; the size of any other is -1.
struct Vectors {
  int64_t groups = 1, batch = 1, size = -1;

  explicit Vectors(const Any& array) {
    const auto dims = array.dimensions();
    if (dims.size() == 3) groups = dims[0], batch = dims[1], size = dims[2];
    if (dims.size() == 1) size = dims[0];
  }
};

inline bool per_synapse(const Any& array, int64_t groups, int64_t nnz) {
  return has_shape(array, {groups, nnz}) || (groups == 1 && has_shape(array, {nnz}));
}

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument(std::string("brainsim CSR: ") + what);
}

// Reads the sizes from `pre` [G, B, n_pre] and `post` [G, B, n_post], and checks every array against them.
inline ffi::Error check(const Any& pre, const Any& post, const Any* weights, const Any& indices, const Any& indptr,
                        Problem* problem) {
  const Vectors from(pre), to(post);
  if (from.size < 0 || to.size < 0) return invalid("vectors must have one axis or three");
  const int64_t groups = from.groups, batch = from.batch, n_pre = from.size, n_post = to.size;
  const int64_t nnz = static_cast<int64_t>(indices.element_count());
  if (to.groups != groups || to.batch != batch) return invalid("both vectors must have the same batch axes");
  if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
    return invalid("indices and indptr must be int32");
  if (!has_shape(indices, {nnz})) return invalid("indices must have one axis");
  if (!has_shape(indptr, {n_pre + 1})) return invalid("indptr must have n_pre + 1 entries");
  if (std::max(nnz, n_post) > std::numeric_limits<int32_t>::max()) return invalid("too many synapses for 32-bit indices");
  if (post.element_type() != pre.element_type()) return invalid("vectors must have the same type");
  if (weights != nullptr) {
    if (weights->element_type() != pre.element_type()) return invalid("weights must have the type of the vectors");
    if (!per_synapse(*weights, groups, nnz)) return invalid("weights must have one entry per synapse");
  }
  *problem = {{static_cast<const int32_t*>(indices.untyped_data()), static_cast<const int32_t*>(indptr.untyped_data()),
               nnz, n_pre, n_post},
              groups,
              batch};
  return ffi::Error::Success();
}

// Calls `run` with a value of the element type of `array`.
template <typename Run>
ffi::Error dispatch(const Any& array, Run run) {
  switch (array.element_type()) {
    case ffi::F32:
      run(float{});
      return ffi::Error::Success();
    case ffi::F64:
      run(double{});
      return ffi::Error::Success();
    default:
      return invalid("vectors must be float32 or float64");
  }
}

template <typename T>
T* data(const Any& array) {
  return static_cast<T*>(array.untyped_data());
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_PROBLEM_H_
