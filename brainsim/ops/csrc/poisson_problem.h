// The sizes of random counts, read from the arrays and checked; poisson.cc says what the arrays are.

#ifndef BRAINSIM_POISSON_PROBLEM_H_
#define BRAINSIM_POISSON_PROBLEM_H_

#include <cstdint>

#include "arrays.h"

namespace brainsim::counting {

struct Problem {
  int64_t groups, n, n_means;  // numbers of counts, and of means, in each group
};

inline ffi::Error check(const Any& key, const Any& step, const Any& means, const Any& out, Problem* p) {
  const int64_t groups = count(step), n_means = count(means), n_out = count(out);
  if (key.element_type() != ffi::U32 || step.element_type() != ffi::U32)
    return ffi::Error::InvalidArgument("Poisson", "key and step must be uint32");
  if (means.element_type() != out.element_type())
    return ffi::Error::InvalidArgument("Poisson", "means and counts must have the same type");
  *p = {0, 0, 0};
  if (n_out == 0) return ffi::Error::Success();
  if (groups == 0 || count(key) != 2 * groups || n_out % groups != 0 || (n_means != groups && n_means != n_out) ||
      n_out / groups > (int64_t{1} << 34))
    return ffi::Error::InvalidArgument("Poisson", "the shapes do not fit");
  if (means.element_type() != ffi::F32 && means.element_type() != ffi::F64)
    return ffi::Error::InvalidArgument("Poisson", "means must be float32 or float64");
  *p = {groups, n_out / groups, n_means / groups};
  return ffi::Error::Success();
}

}  // namespace brainsim::counting

#endif  // BRAINSIM_POISSON_PROBLEM_H_
