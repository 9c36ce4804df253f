// The sizes of a product with rows of equal length, read from the arrays and checked.

#ifndef BRAINSIM_FAN_OUT_PROBLEM_H_
#define BRAINSIM_FAN_OUT_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "arrays.h"
#include "rows.h"

namespace brainsim::fan_out {

struct Problem {
  EqualRows rows;
  int64_t groups, batch;

  int64_t vectors() const { return groups * batch; }
};

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("fan-out", what);
}

inline ffi::Error check(const Any& spikes, const Any* weights, const Any& indices, const Any& out, Problem* p) {
  const Vectors x(spikes), y(out);
  const auto at = indices.dimensions();
  if (indices.element_type() != ffi::S32 || at.size() != 2) return invalid("indices must be int32 with two axes");
  if (x.size < 0 || y.size < 0) return invalid("vectors must have one axis or three");
  if (!y.like(x)) return invalid("both vectors must have the same batch axes");
  if (at[0] != x.size) return invalid("there must be one row of indices per neuron");
  if (std::max(x.size, y.size) > std::numeric_limits<int32_t>::max())
    return invalid("too many neurons for 32-bit indices");
  if (out.element_type() != spikes.element_type()) return invalid("vectors must have the same type");
  if (weights != nullptr && count(*weights) != x.groups * x.size * at[1])
    return invalid("weights must have one entry per synapse");
  *p = {{data<int32_t>(indices), at[1], x.size * at[1], x.size, y.size}, x.groups, x.batch};
  return ffi::Error::Success();
}

}  // namespace brainsim::fan_out

#endif  // BRAINSIM_FAN_OUT_PROBLEM_H_
