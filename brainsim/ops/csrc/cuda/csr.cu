// CUDA twins of csr.cc, csr_narrow.cc and csr_gradients.cc: the same operands, the same checks.

#include "../csr_problem.h"
#include "launch.h"
#include "products.h"

namespace brainsim::csr {
namespace {

using namespace cuda;

ffi::Error scatter_impl(cudaStream_t stream, const Any& spikes, const Any* weights, const Any& indices,
                        const Any& indptr, const Any& out, bool narrow) {
  Problem p{};
  BRAINSIM_TRY(check(spikes, out, weights, indices, indptr, &p, narrow));
  return typed(spikes, weights, [&](auto zero, auto weight) {
    const auto* w = weights == nullptr ? nullptr : data<const decltype(weight)>(*weights);
    return cuda::scatter(stream, p.rows, p.vectors(), p.batch, data<const decltype(zero)>(spikes), w, out);
  });
}

ffi::Error gather_impl(cudaStream_t stream, const Any& values, const Any* weights, const Any& indices,
                       const Any& indptr, const Any* relevant, const Any& out, bool narrow) {
  Problem p{};
  if (relevant == nullptr) BRAINSIM_TRY(check(out, values, weights, indices, indptr, &p, narrow));
  if (relevant != nullptr) BRAINSIM_TRY(check_relevant(values, weights, indices, indptr, *relevant, out, &p));
  BRAINSIM_TRY(clear(stream, out));
  return typed(values, weights, [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    return launch(stream, gather_rows<T, W>, p.vectors() * p.rows.n_pre * kFewLanes, p.rows, p.batch,
                  data<const T>(values), weights == nullptr ? nullptr : data<const W>(*weights),
                  relevant == nullptr ? nullptr : data<const bool>(*relevant), data<T>(out));
  });
}

ffi::Error accumulated(cudaStream_t stream, const Problem& p, const Any& spikes, const Any& values, const Any& out) {
  return typed(spikes, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, accumulate_rows<T>, p.groups * p.rows.n_pre * kLanes, p.rows, p.batch, data<const T>(spikes),
                  data<const T>(values), data<T>(out));
  });
}

ffi::Error scatter(cudaStream_t stream, Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return scatter_impl(stream, spikes, &weights, indices, indptr, *out, false);
}
ffi::Error scatter_unit(cudaStream_t stream, Any spikes, Any indices, Any indptr, Out out) {
  return scatter_impl(stream, spikes, nullptr, indices, indptr, *out, false);
}
ffi::Error scatter_narrow(cudaStream_t stream, Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return scatter_impl(stream, spikes, &weights, indices, indptr, *out, true);
}
ffi::Error gather(cudaStream_t stream, Any values, Any weights, Any indices, Any indptr, Out out) {
  return gather_impl(stream, values, &weights, indices, indptr, nullptr, *out, false);
}
ffi::Error gather_unit(cudaStream_t stream, Any values, Any indices, Any indptr, Out out) {
  return gather_impl(stream, values, nullptr, indices, indptr, nullptr, *out, false);
}
ffi::Error gather_narrow(cudaStream_t stream, Any values, Any weights, Any indices, Any indptr, Out out) {
  return gather_impl(stream, values, &weights, indices, indptr, nullptr, *out, true);
}
ffi::Error gather_relevant(cudaStream_t stream, Any values, Any weights, Any indices, Any indptr, Any relevant,
                           Out out) {
  return gather_impl(stream, values, &weights, indices, indptr, &relevant, *out, false);
}
ffi::Error gather_relevant_unit(cudaStream_t stream, Any values, Any indices, Any indptr, Any relevant, Out out) {
  return gather_impl(stream, values, nullptr, indices, indptr, &relevant, *out, false);
}
ffi::Error outer(cudaStream_t stream, Any spikes, Any values, Any indices, Any indptr, Out out) {
  Problem p{};
  BRAINSIM_TRY(check_outer(spikes, values, indices, indptr, *out, &p));
  BRAINSIM_TRY(clear(stream, *out));
  return accumulated(stream, p, spikes, values, *out);
}
ffi::Error accumulate(cudaStream_t stream, Any sum, Any spikes, Any values, Any indices, Any indptr, Out out) {
  Problem p{};
  BRAINSIM_TRY(check_accumulate(sum, spikes, values, indices, indptr, *out, &p));
  BRAINSIM_TRY(alias(stream, sum, *out));
  return accumulated(stream, p, spikes, values, *out);
}

}  // namespace
}  // namespace brainsim::csr

BRAINSIM_HANDLER(brainsim_csr_scatter, csr::scatter)
BRAINSIM_HANDLER(brainsim_csr_scatter_unit, csr::scatter_unit)
BRAINSIM_HANDLER(brainsim_csr_scatter_narrow, csr::scatter_narrow)
BRAINSIM_HANDLER(brainsim_csr_gather, csr::gather)
BRAINSIM_HANDLER(brainsim_csr_gather_unit, csr::gather_unit)
BRAINSIM_HANDLER(brainsim_csr_gather_narrow, csr::gather_narrow)
BRAINSIM_HANDLER(brainsim_csr_gather_relevant, csr::gather_relevant)
BRAINSIM_HANDLER(brainsim_csr_gather_relevant_unit, csr::gather_relevant_unit)
BRAINSIM_HANDLER(brainsim_csr_outer, csr::outer)
BRAINSIM_HANDLER(brainsim_csr_accumulate, csr::accumulate)

// The Python side refuses a library built from other sources than its own; see ops/_library.py.
BRAINSIM_EXPORT const char* brainsim_cuda_abi() { return "19"; }
BRAINSIM_EXPORT int brainsim_xla() { return 1000 * XLA_FFI_API_MAJOR + XLA_FFI_API_MINOR; }
