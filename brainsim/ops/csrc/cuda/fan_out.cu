// CUDA twin of fan_out.cc: the same operands, the same checks.

#include "../fan_out_problem.h"
#include "launch.h"
#include "products.h"

namespace brainsim::fan_out {
namespace {

ffi::Error run(cudaStream_t stream, const Any& spikes, const Any* weights, const Any& indices, const Any& out) {
  Problem p{};
  BRAINSIM_TRY(check(spikes, weights, indices, out, &p));
  return typed(spikes, weights, [&](auto zero, auto weight) {
    const auto* w = weights == nullptr ? nullptr : data<const decltype(weight)>(*weights);
    return cuda::scatter(stream, p.rows, p.vectors(), p.batch, data<const decltype(zero)>(spikes), w, out);
  });
}

ffi::Error weighted(cudaStream_t stream, Any spikes, Any weights, Any indices, Out out) {
  return run(stream, spikes, &weights, indices, *out);
}
ffi::Error unit(cudaStream_t stream, Any spikes, Any indices, Out out) {
  return run(stream, spikes, nullptr, indices, *out);
}

}  // namespace
}  // namespace brainsim::fan_out

BRAINSIM_HANDLER(brainsim_fan_out_scatter, fan_out::weighted)
BRAINSIM_HANDLER(brainsim_fan_out_scatter_unit, fan_out::unit)
