// XLA FFI handlers of the event-driven dense product and convolution: checks, then the loops of dense_kernels.h.
//
//   dense:       spikes [G, B, n_pre] or [n_pre], weights [G, n_pre, n_post] -> [G, B, n_post]
//   convolution: images [G, B, in_size], weights [G, weight_size] -> [G, B, out_size]
// Weights have the type of the vectors, or are bfloat16 for float vectors. Where G = B = 1 these axes may be left out.

#include <cstdint>

#include "dense_kernels.h"
#include "dense_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::dense {
namespace {

// Calls `loop(x, w, y)` for each vector, with pointers of the types of the arrays.
template <typename Loop>
ffi::Error each(ffi::ThreadPool& pool, const Problem& p, const Any& spikes, const Any& weights, const Any& out, Loop loop) {
  return typed(spikes, &weights, [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    each_vector(pool, p.vectors(), p.in_size + p.out_size, [&](int64_t i) {
      loop(data<const T>(spikes) + i * p.in_size, data<const W>(weights) + (i / p.batch) * p.weight_size,
           data<T>(out) + i * p.out_size);
    });
    return ffi::Error::Success();
  });
}

ffi::Error matrix(ffi::ThreadPool pool, Any spikes, Any weights, Out out) {
  Problem p;
  if (ffi::Error error = check_matrix(spikes, weights, *out, &p); error.failure()) return error;
  return each(pool, p, spikes, weights, *out,
              [&](const auto* x, const auto* w, auto* y) { dense_scatter(p.in_size, p.out_size, x, w, y); });
}

ffi::Error convolution(ffi::ThreadPool pool, Any images, Any weights, ffi::Span sizes, Out out) {
  Problem p;
  Convolution c;
  if (ffi::Error error = check_convolution(images, weights, sizes, *out, &c, &p); error.failure()) return error;
  return each(pool, p, images, weights, *out,
              [&](const auto* x, const auto* w, auto* y) { convolution_scatter(c, x, w, y); });
}

}  // namespace
}  // namespace brainsim::dense

BRAINSIM_HANDLER(brainsim_dense_scatter, dense::matrix)
BRAINSIM_HANDLER(brainsim_convolution_scatter, dense::convolution, "sizes")
