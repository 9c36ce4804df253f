// The sizes of the operators with delays, read from the arrays and checked; arrivals.cc says what the arrays are.

#ifndef BRAINSIM_ARRIVALS_PROBLEM_H_
#define BRAINSIM_ARRIVALS_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "arrays.h"
#include "delayed.h"

namespace brainsim::arriving {

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("arrivals", what);
}

struct Pattern {
  const Any &indices, &indptr, &steps, &k;
};

struct Problem {
  Delayed matrix;
  int64_t groups = 1, batch = 1;
  const int32_t* k;

  int64_t vectors() const { return groups * batch; }
};

// Reads the sizes from the arrays, and checks every array against them. `hints` and `weights` may be null.
inline ffi::Error check(const Any& history, const Any* hints, const Any& post, const Any* weights, const Pattern& a,
                        Problem* p) {
  const auto type = history.element_type();
  if (type != ffi::F32 && type != ffi::F64) return invalid("vectors must be float32 or float64");
  if (post.element_type() != type || (weights != nullptr && weights->element_type() != type))
    return invalid("vectors and weights must have the same type");
  for (const Any* x : {&a.indices, &a.indptr, &a.steps, &a.k})
    if (x->element_type() != ffi::S32) return invalid("indices, indptr, steps and k must be int32");
  const auto batch = a.k.dimensions();
  if (batch.size() != 0 && batch.size() != 2) return invalid("k must have no axis or two");
  if (batch.size() == 2) p->groups = batch[0], p->batch = batch[1];
  const int64_t n_pre = axis(history, 1), n_rows = axis(history, 2), n_post = axis(post, 1), nnz = count(a.indices);
  const int64_t n_slots = count(a.steps), hint_size = hints == nullptr ? 0 : axis(*hints, 1);
  if (n_rows < 1 || n_pre < 0 || n_post < 0) return invalid("the history must have rows [R, n_pre]");
  if (a.indptr.dimensions().size() != 2 || axis(a.indptr, 2) != n_pre || axis(a.indptr, 1) != n_slots + 1)
    return invalid("indptr must have shape [n_pre, slots + 1]");
  if (count(history) != p->vectors() * n_rows * n_pre || count(post) != p->vectors() * n_post)
    return invalid("all vectors must have the same batch axes");
  if (hints != nullptr && (hints->element_type() != ffi::S32 || count(*hints) != p->vectors() * n_rows * hint_size))
    return invalid("hints must be int32 with the axes of the history");
  if (weights != nullptr && count(*weights) != p->groups * nnz) return invalid("weights must have one entry per synapse");
  if (std::max(nnz, n_post) > std::numeric_limits<int32_t>::max()) return invalid("too many synapses for 32-bit indices");
  p->matrix = {data<int32_t>(a.indices), data<int32_t>(a.indptr), data<int32_t>(a.steps), nnz, n_pre, n_slots, n_post,
               n_rows, hint_size};
  p->k = data<int32_t>(a.k);
  return ffi::Error::Success();
}

inline ffi::Error check_add(const Any& start, const Any& history, const Any& hints, const Any* weights,
                            const Pattern& pattern, const Any& out, Problem* p) {
  if (ffi::Error error = check(history, &hints, out, weights, pattern, p); error.failure()) return error;
  if (start.element_type() != out.element_type() || count(start) != count(out))
    return invalid("the result must be like what it starts from");
  return ffi::Error::Success();
}

inline ffi::Error check_accumulate(const Any& sum, const Any& history, const Any& hints, const Any& values,
                                   const Pattern& pattern, const Any& out, Problem* p) {
  if (ffi::Error error = check(history, &hints, values, &out, pattern, p); error.failure()) return error;
  if (sum.element_type() != out.element_type() || count(sum) != count(out))
    return invalid("the result must be like the sum");
  return ffi::Error::Success();
}

inline ffi::Error check_collect(const Any& total, const Any& values, const Any& relevant, const Any* weights,
                                const Pattern& pattern, const Any& out, Problem* p) {
  if (ffi::Error error = check(out, nullptr, values, weights, pattern, p); error.failure()) return error;
  if (total.element_type() != out.element_type() || count(total) != count(out))
    return invalid("the result must be like the total");
  if (relevant.element_type() != ffi::PRED || (count(relevant) != 0 && count(relevant) != count(out)))
    return invalid("relevant must hold one boolean per entry of the history, or none");
  return ffi::Error::Success();
}

struct Lists {
  int64_t rows, n, size;
};

inline ffi::Error check_compact(const Any& values, const Any& out, Lists* lists) {
  const auto type = values.element_type();
  if (type != ffi::F32 && type != ffi::F64) return invalid("vectors must be float32 or float64");
  const int64_t n = axis(values, 1), size = axis(out, 1), axes = static_cast<int64_t>(values.dimensions().size());
  const int64_t rows = axes == 2 ? axis(values, 2) : 1;
  if (n < 0 || size < 0 || axes > 2 || out.element_type() != ffi::S32 || count(out) != rows * size)
    return invalid("compact makes int32 hints [N, H] from vectors [N, n]");
  *lists = {rows, n, size};
  return ffi::Error::Success();
}

// Calls `run` with a value of the element type of `array`, which `check` has seen.
template <typename Run>
void dispatch(const Any& array, Run run) {
  array.element_type() == ffi::F32 ? run(float{}) : run(double{});
}

}  // namespace brainsim::arriving

#endif  // BRAINSIM_ARRIVALS_PROBLEM_H_
