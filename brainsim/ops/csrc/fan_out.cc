// XLA FFI handler of the event-driven product with rows of equal length: checks, then the loop of fan_out_kernels.h.
//
//   spikes [G, B, n_pre] or [n_pre], weights [G, n_pre, k] or [n_pre, k] or none, indices [n_pre, k] -> [G, B, n_post]
// Weights have the type of the spikes, or are bfloat16 for float spikes.

#include <cstdint>

#include "fan_out_kernels.h"
#include "fan_out_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::fan_out {
namespace {

template <bool kWeighted>
ffi::Error run(ffi::ThreadPool& pool, const Any& spikes, const Any* weights, const Any& indices, const Any& out) {
  Problem p;
  if (ffi::Error error = check(spikes, weights, indices, out, &p); error.failure()) return error;
  const EqualRows& m = p.rows;
  return typed(spikes, weights, [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    each_vector(pool, p.vectors(), m.n_pre + m.n_post, [&](int64_t i) {
      fan_out_scatter<T, W, kWeighted>(m.n_pre, m.k, m.n_post, data<T>(spikes) + i * m.n_pre,
                                       kWeighted ? data<W>(*weights) + (i / p.batch) * m.nnz : nullptr, m.indices,
                                       data<T>(out) + i * m.n_post);
    });
    return ffi::Error::Success();
  });
}

ffi::Error weighted(ffi::ThreadPool pool, Any spikes, Any weights, Any indices, Out out) {
  return run<true>(pool, spikes, &weights, indices, *out);
}
ffi::Error unit(ffi::ThreadPool pool, Any spikes, Any indices, Out out) {
  return run<false>(pool, spikes, nullptr, indices, *out);
}

}  // namespace
}  // namespace brainsim::fan_out

BRAINSIM_HANDLER(brainsim_fan_out_scatter, fan_out::weighted)
BRAINSIM_HANDLER(brainsim_fan_out_scatter_unit, fan_out::unit)
