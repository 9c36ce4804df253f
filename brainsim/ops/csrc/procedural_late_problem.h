// The sizes of procedural connectivity with delays, read and checked; procedural_late.cc says what they are.

#ifndef BRAINSIM_PROCEDURAL_LATE_PROBLEM_H_
#define BRAINSIM_PROCEDURAL_LATE_PROBLEM_H_

#include <cstdint>

#include "late.h"
#include "procedural_problem.h"

namespace brainsim::regenerating {

struct LateProblem : Problem {
  Late late;
};

inline ffi::Error check_late(const Any& ring, const Any& vectors, const Any& seed, const Any& table, const Any& delays,
                             const Any& k, const Numbers& a, int64_t least, int64_t stride, LateProblem* p) {
  if (ffi::Error error = check_pattern(seed, table, a, p); error.failure()) return error;
  if (delays.element_type() != ffi::U32) return invalid("the table of delays must be uint32");
  if (k.element_type() != ffi::S32 || k.element_count() != 1) return invalid("k must be one int32");
  const auto axes = ring.dimensions();
  if (axes.size() != 2 && axes.size() != 3) return invalid("the ring must have rows [R, n_post]");
  p->batch = axes.size() == 3 ? axes[0] : 1;
  if (axis(ring, 1) != a.n_post || count(vectors) != p->batch * a.n_pre * (a.noise == 0 ? 1 : 2))
    return invalid("arrays must have one entry per neuron");
  if (ring.element_type() != vectors.element_type()) return invalid("arrays must have the same type");
  p->late = {least, stride, axis(ring, 2), data<uint32_t>(delays), count(delays)};
  const char* what = fault(p->late);
  return what == nullptr ? ffi::Error::Success() : invalid(what);
}

}  // namespace brainsim::regenerating

#endif  // BRAINSIM_PROCEDURAL_LATE_PROBLEM_H_
