// CUDA twins of procedural.cc: the same operands, the same checks, the same synapses. Normal noise, which takes
// logarithms, may differ in its last bits.

#include "../procedural_problem.h"
#include "synapse.h"

namespace brainsim::regenerating {
namespace {

using namespace cuda;

constexpr int64_t kVectors = 4;  // of a batch, that are gathered at a time

// out[b, post] += spikes[b, pre], and the same times noise: `kLanes` threads regenerate a row, if any b uses it.
template <typename T, Noise kNoise>
__global__ void scatter_rows(int64_t n, Pattern p, int64_t batch, const uint32_t* seed, const T* spikes, T* out) {
  constexpr int64_t kC = kChannels<kNoise>;
  Synapse<T, kNoise> synapse(p, seed);
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, row = piece / kLanes;
    bool any = false;
    for (int64_t b = 0; b < batch && !any; ++b) any = magnitude_bits(spikes[b * p.n_pre + row]) != 0;
    if (!any) continue;
    synapse.begin(row);
    for (int64_t j = lane; j < synapse.degree; j += kLanes) {
      synapse.generate(j);
      for (int64_t b = 0; b < batch; ++b) {
        const T spike = spikes[b * p.n_pre + row];
        if (magnitude_bits(spike) == 0) continue;
        T* at = out + (b * p.n_post + synapse.target) * kC;
        atomicAdd(at, spike);
        if (kC == 2) atomicAdd(at + kC - 1, synapse.noise * spike);
      }
    }
  }
}

// out[b, pre] += values[b, post, 0] + noise * values[b, post, 1] over the synapses of a row, for kVectors vectors.
template <typename T, Noise kNoise>
__global__ void gather_rows(int64_t n, Pattern p, int64_t batch, const uint32_t* seed, const T* values, T* out) {
  constexpr int64_t kC = kChannels<kNoise>;
  Synapse<T, kNoise> synapse(p, seed);
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, row = piece / kLanes % p.n_pre, b0 = piece / kLanes / p.n_pre * kVectors;
    T sum[kVectors] = {0, 0, 0, 0};
    synapse.begin(row);
    for (int64_t j = lane; j < synapse.degree; j += kLanes) {
      synapse.generate(j);
      for (int64_t i = 0; i < kVectors && b0 + i < batch; ++i) {
        const T* at = values + ((b0 + i) * p.n_post + synapse.target) * kC;
        sum[i] += kC == 2 ? at[0] + synapse.noise * at[kC - 1] : at[0];
      }
    }
    if (lane >= synapse.degree) continue;
    for (int64_t i = 0; i < kVectors && b0 + i < batch; ++i) atomicAdd(out + (b0 + i) * p.n_pre + row, sum[i]);
  }
}

template <bool kGather>
ffi::Error handle(cudaStream_t stream, const Any& in, const Any& seed, const Any& table, const Numbers& numbers,
                  const Any& out) {
  Problem p{};
  BRAINSIM_TRY(check(kGather, in, seed, table, numbers, out, &p));
  BRAINSIM_TRY(clear(stream, out));
  if (p.pattern.n_post == 0) return ffi::Error::Success();
  return dispatch(in, p.noise, [&](auto zero, auto noise) {
    using T = decltype(zero);
    constexpr Noise kNoise = decltype(noise)::value;
    const int64_t rows = p.pattern.n_pre * kLanes, groups = kGather ? (p.batch + kVectors - 1) / kVectors : 1;
    return launch(stream, kGather ? gather_rows<T, kNoise> : scatter_rows<T, kNoise>, rows * groups, p.pattern, p.batch,
                  data<const uint32_t>(seed), data<const T>(in), data<T>(out));
  });
}

ffi::Error scatter(cudaStream_t stream, Any in, Any seed, Any table, Numbers numbers, Out out) {
  return handle<false>(stream, in, seed, table, numbers, *out);
}
ffi::Error gather(cudaStream_t stream, Any in, Any seed, Any table, Numbers numbers, Out out) {
  return handle<true>(stream, in, seed, table, numbers, *out);
}

}  // namespace
}  // namespace brainsim::regenerating

BRAINSIM_HANDLER(brainsim_procedural_scatter, regenerating::scatter)
BRAINSIM_HANDLER(brainsim_procedural_gather, regenerating::gather)
