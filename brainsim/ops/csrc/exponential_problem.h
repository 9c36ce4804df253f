// The check of an exponential step; exponential_step.cc says what the arrays are.

#ifndef BRAINSIM_EXPONENTIAL_PROBLEM_H_
#define BRAINSIM_EXPONENTIAL_PROBLEM_H_

#include "arrays.h"

namespace brainsim {

inline ffi::Error check_exponential(const Any& y, const Any& pairs, const Any& out) {
  const auto type = y.element_type(), complex = pairs.element_type();
  if (out.element_type() != type || count(out) != count(y) || count(pairs) != count(y))
    return ffi::Error::InvalidArgument("exponential step", "all arrays must have the same size and type");
  if (!(type == ffi::F32 && complex == ffi::C64) && !(type == ffi::F64 && complex == ffi::C128))
    return ffi::Error::InvalidArgument("exponential step", "arrays must be float32 or float64");
  return ffi::Error::Success();
}

}  // namespace brainsim

#endif  // BRAINSIM_EXPONENTIAL_PROBLEM_H_
