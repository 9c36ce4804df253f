// What the handlers of products on compressed rows have in common: the sizes, read from the arrays and checked.

#ifndef BRAINSIM_CSR_PROBLEM_H_
#define BRAINSIM_CSR_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "arrays.h"
#include "rows.h"

namespace brainsim::csr {

struct Problem {
  Rows rows;
  int64_t groups, batch;

  int64_t vectors() const { return groups * batch; }
};

inline bool per_synapse(const Any& array, int64_t groups, int64_t nnz) {
  return has_shape(array, {groups, nnz}) || (groups == 1 && has_shape(array, {nnz}));
}

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("CSR", what);
}

// Reads the sizes from `pre` [G, B, n_pre] and `post` [G, B, n_post], and checks every array against them. Weights are of
// the type of the vectors, or, if they are `narrow`, bfloat16.
inline ffi::Error check(const Any& pre, const Any& post, const Any* weights, const Any& indices, const Any& indptr,
                        Problem* problem, bool narrow = false) {
  const Vectors from(pre), to(post);
  if (from.size < 0 || to.size < 0) return invalid("vectors must have one axis or three");
  const int64_t groups = from.groups, n_pre = from.size, n_post = to.size, nnz = count(indices);
  if (!to.like(from)) return invalid("both vectors must have the same batch axes");
  if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
    return invalid("indices and indptr must be int32");
  if (!has_shape(indices, {nnz})) return invalid("indices must have one axis");
  if (!has_shape(indptr, {n_pre + 1})) return invalid("indptr must have n_pre + 1 entries");
  if (std::max({nnz, n_pre, n_post}) > std::numeric_limits<int32_t>::max())
    return invalid("too many synapses for 32-bit indices");
  if (pre.element_type() != ffi::F32 && (narrow || pre.element_type() != ffi::F64))
    return invalid(narrow ? "vectors must be float32" : "vectors must be float32 or float64");
  if (post.element_type() != pre.element_type()) return invalid("vectors must have the same type");
  if (weights != nullptr) {
    if (weights->element_type() != (narrow ? ffi::BF16 : pre.element_type()))
      return invalid(narrow ? "weights must be bfloat16" : "weights must have the type of the vectors");
    if (!per_synapse(*weights, groups, nnz)) return invalid("weights must have one entry per synapse");
  }
  *problem = {{data<int32_t>(indices), data<int32_t>(indptr), nnz, n_pre, n_post}, groups, from.batch};
  return ffi::Error::Success();
}

// The checks of the product of some rows, of the transpose with respect to the weights, and of that transpose added up.
inline ffi::Error check_relevant(const Any& values, const Any* weights, const Any& indices, const Any& indptr,
                                 const Any& relevant, const Any& out, Problem* p) {
  if (ffi::Error error = check(out, values, weights, indices, indptr, p); error.failure()) return error;
  if (relevant.element_type() != ffi::PRED || relevant.element_count() != out.element_count())
    return invalid("relevant must hold one boolean per presynaptic neuron");
  return ffi::Error::Success();
}
inline ffi::Error check_outer(const Any& spikes, const Any& values, const Any& indices, const Any& indptr,
                              const Any& out, Problem* p) {
  if (ffi::Error error = check(spikes, values, nullptr, indices, indptr, p); error.failure()) return error;
  if (!per_synapse(out, p->groups, p->rows.nnz) || out.element_type() != spikes.element_type())
    return invalid("the result must have one entry per synapse");
  return ffi::Error::Success();
}
inline ffi::Error check_accumulate(const Any& sum, const Any& spikes, const Any& values, const Any& indices,
                                   const Any& indptr, const Any& out, Problem* p) {
  if (ffi::Error error = check(spikes, values, &sum, indices, indptr, p); error.failure()) return error;
  if (!per_synapse(out, p->groups, p->rows.nnz) || out.element_type() != sum.element_type())
    return invalid("the result must have the shape and type of the sum");
  return ffi::Error::Success();
}

// Calls `run` with a value of the element type of `array`, which has been checked.
template <typename Run>
ffi::Error dispatch(const Any& array, Run run) {
  array.element_type() == ffi::F32 ? run(float{}) : run(double{});
  return ffi::Error::Success();
}

}  // namespace brainsim::csr

#endif  // BRAINSIM_CSR_PROBLEM_H_
