// The sizes of a dense product and of a convolution, read from the arrays and checked.

#ifndef BRAINSIM_DENSE_PROBLEM_H_
#define BRAINSIM_DENSE_PROBLEM_H_

#include <cstdint>
#include <limits>

#include "arrays.h"
#include "convolution.h"

namespace brainsim::dense {

struct Problem {
  int64_t groups, batch, in_size, weight_size, out_size;

  int64_t vectors() const { return groups * batch; }
};

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("dense", what);
}

// Checks the arrays against `in_size`, `weight_size` and `out_size` of the problem, and reads the others.
inline ffi::Error check(const Any& spikes, const Any& weights, const Any& out, Problem* p) {
  const Vectors x(spikes), y(out);
  if (x.size < 0 || y.size < 0) return invalid("vectors must have one axis or three");
  if (!y.like(x)) return invalid("both vectors must have the same batch axes");
  if (x.size != p->in_size || y.size != p->out_size || count(weights) != x.groups * p->weight_size)
    return invalid("vectors and weights do not fit");
  if (x.size > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
  if (out.element_type() != spikes.element_type()) return invalid("vectors must have the same type");
  p->groups = x.groups, p->batch = x.batch;
  return ffi::Error::Success();
}

inline ffi::Error check_matrix(const Any& spikes, const Any& weights, const Any& out, Problem* p) {
  const int64_t n_pre = axis(spikes, 1), n_post = axis(out, 1);
  if (n_pre < 0 || n_post < 0) return invalid("vectors need an axis");
  *p = {1, 1, n_pre, n_pre * n_post, n_post};
  return check(spikes, weights, out, p);
}

inline ffi::Error check_convolution(const Any& images, const Any& weights, ffi::Span sizes,
                                    const Any& out, Convolution* c, Problem* p) {
  if (sizes.size() != 12) return invalid("a convolution has 12 sizes");
  for (const int64_t size : sizes)
    if (size < 0 || size > (int64_t{1} << 20)) return invalid("sizes of a convolution must lie between 0 and 2^20");
  const int64_t* s = sizes.begin();
  *c = {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11]};
  if (c->stride_y < 1 || c->stride_x < 1) return invalid("strides must be positive");
  *p = {1, 1, c->in_size(), c->weight_size(), c->out_size()};
  return check(images, weights, out, p);
}

}  // namespace brainsim::dense

#endif  // BRAINSIM_DENSE_PROBLEM_H_
