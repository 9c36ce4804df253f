// The sizes of lists of spikes, read from the arrays and checked; events.cc says what the arrays are.

#ifndef BRAINSIM_EVENTS_PROBLEM_H_
#define BRAINSIM_EVENTS_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "arrays.h"

namespace brainsim::listing {

struct Problem {
  int64_t batch, n, capacity;
};

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("append_events", what);
}

inline ffi::Error check(const Any& list, const Any& spikes, const Any& step, const Any& out, Problem* p) {
  const auto shape = list.dimensions(), values = spikes.dimensions(), batches = step.dimensions();
  const size_t axes = batches.size();
  if (list.element_type() != ffi::S32 || step.element_type() != ffi::S32 || out.element_type() != ffi::S32)
    return invalid("lists and steps must be int32");
  if (shape.size() != axes + 2 || values.size() != axes + 1 || shape[axes + 1] != 2 || shape[axes] < 1)
    return invalid("expected a list [capacity + 1, 2], spikes [n] and a step");
  if (!std::equal(batches.begin(), batches.end(), shape.begin()) ||
      !std::equal(batches.begin(), batches.end(), values.begin()))
    return invalid("all arrays must have the same batch axes");
  const auto result = out.dimensions();
  if (!std::equal(shape.begin(), shape.end(), result.begin(), result.end()))
    return invalid("the result must have the shape of the list");
  const int64_t n = values[axes], capacity = shape[axes] - 1;
  if (std::max(n, capacity) >= std::numeric_limits<int32_t>::max()) return invalid("too large for 32-bit indices");
  if (spikes.element_type() != ffi::F32 && spikes.element_type() != ffi::F64)
    return invalid("spikes must be float32 or float64");
  *p = {count(step), n, capacity};
  return ffi::Error::Success();
}

}  // namespace brainsim::listing

#endif  // BRAINSIM_EVENTS_PROBLEM_H_
