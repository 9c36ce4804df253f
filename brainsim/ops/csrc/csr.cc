// XLA FFI handlers of the event-driven operators on compressed rows: shape checks, then the loops of csr_kernels.h.
//
// Shapes, with G groups that have their own weights and B vectors in each group:
//   scatter: spikes [G, B, n_pre],  weights [G, nnz] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz] -> [G, B, n_pre]
//   outer:   spikes [G, B, n_pre],  values [G, B, n_post] -> [G, nnz]
// Where G = B = 1 the batch axes may be left out altogether.
// `_unit` forms have no weights: every synapse has weight one. All take indices [nnz] and indptr [n_pre + 1], int32.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "csr_kernels.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

struct Problem {
  Rows rows;
  int64_t groups, batch;
};

bool has_shape(const Any& array, std::initializer_list<int64_t> shape) {
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

bool per_synapse(const Any& array, int64_t groups, int64_t nnz) {
  return has_shape(array, {groups, nnz}) || (groups == 1 && has_shape(array, {nnz}));
}

// Reads the sizes from `pre` [G, B, n_pre] and `post` [G, B, n_post], and checks every array against them.
ffi::Error check(const Any& pre, const Any& post, const Any* weights, const Any& indices, const Any& indptr,
                 Problem* problem) {
  const auto invalid = [](const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim CSR: ") + what); };
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
      return ffi::Error::InvalidArgument("brainsim CSR: vectors must be float32 or float64");
  }
}

template <typename T>
T* data(const Any& array) {
  return static_cast<T*>(array.untyped_data());
}

ffi::Error scatter_impl(const Any& spikes, const Any* weights, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(spikes, out, weights, indices, indptr, &p); error.failure()) return error;
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t k = 0; k < p.groups * p.batch; ++k) {
      const T* x = data<T>(spikes) + k * p.rows.n_pre;
      T* y = data<T>(out) + k * p.rows.n_post;
      if (weights == nullptr) {
        scatter<T, false>(p.rows, x, nullptr, y);
      } else {
        scatter<T, true>(p.rows, x, data<T>(*weights) + (k / p.batch) * p.rows.nnz, y);
      }
    }
  });
}

ffi::Error gather_impl(const Any& values, const Any* weights, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(out, values, weights, indices, indptr, &p); error.failure()) return error;
  return dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t k = 0; k < p.groups * p.batch; ++k) {
      const T* x = data<T>(values) + k * p.rows.n_post;
      T* y = data<T>(out) + k * p.rows.n_pre;
      if (weights == nullptr) {
        gather<T, false>(p.rows, x, nullptr, y);
      } else {
        gather<T, true>(p.rows, x, data<T>(*weights) + (k / p.batch) * p.rows.nnz, y);
      }
    }
  });
}

ffi::Error outer_impl(const Any& spikes, const Any& values, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(spikes, values, nullptr, indices, indptr, &p); error.failure()) return error;
  if (!per_synapse(out, p.groups, p.rows.nnz) || out.element_type() != spikes.element_type())
    return ffi::Error::InvalidArgument("brainsim CSR: the result must have one entry per synapse");
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t g = 0; g < p.groups; ++g)
      outer<T>(p.rows, p.batch, data<T>(spikes) + g * p.batch * p.rows.n_pre,
               data<T>(values) + g * p.batch * p.rows.n_post, data<T>(out) + g * p.rows.nnz);
  });
}

using Out = ffi::Result<Any>;

ffi::Error scatter_weighted(Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return scatter_impl(spikes, &weights, indices, indptr, *out);
}
ffi::Error scatter_unit(Any spikes, Any indices, Any indptr, Out out) {
  return scatter_impl(spikes, nullptr, indices, indptr, *out);
}
ffi::Error gather_weighted(Any values, Any weights, Any indices, Any indptr, Out out) {
  return gather_impl(values, &weights, indices, indptr, *out);
}
ffi::Error gather_unit(Any values, Any indices, Any indptr, Out out) {
  return gather_impl(values, nullptr, indices, indptr, *out);
}
ffi::Error outer_weights(Any spikes, Any values, Any indices, Any indptr, Out out) {
  return outer_impl(spikes, values, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_THREE \
  xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>()
#define BRAINSIM_FOUR BRAINSIM_THREE.Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_csr_scatter, scatter_weighted, BRAINSIM_FOUR)
BRAINSIM_HANDLER(brainsim_csr_scatter_unit, scatter_unit, BRAINSIM_THREE)
BRAINSIM_HANDLER(brainsim_csr_gather, gather_weighted, BRAINSIM_FOUR)
BRAINSIM_HANDLER(brainsim_csr_gather_unit, gather_unit, BRAINSIM_THREE)
BRAINSIM_HANDLER(brainsim_csr_outer, outer_weights, BRAINSIM_FOUR)

// The Python side refuses a library built from other sources than its own; see ops/_library.py.
BRAINSIM_EXPORT const char* brainsim_abi() { return "7"; }
