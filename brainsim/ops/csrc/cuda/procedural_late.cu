// CUDA twins of procedural_late.cc: the same operands, the same checks, the same synapses and delays.

#include "../procedural_late_problem.h"
#include "synapse.h"

namespace brainsim::regenerating {
namespace {

using namespace cuda;

// ring[b, (k + delay) mod rows, post] += sent[b, pre, 0] + noise * sent[b, pre, 1]: `kLanes` threads regenerate a row, if any
// b sends something.
template <typename T, Noise kNoise>
__global__ void send_rows(int64_t n, Pattern p, Late late, int64_t batch, const uint32_t* seed, const int32_t* k,
                          const T* sent, T* ring) {
  constexpr int64_t kC = kChannels<kNoise>;
  const int64_t first = first_row(late, *k);
  Synapse<T, kNoise> synapse(p, seed);
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, row = piece / kLanes;
    const auto nothing = [&](const T* x) { return magnitude_bits(x[0]) == 0 && magnitude_bits(x[kC - 1]) == 0; };
    bool any = false;
    for (int64_t b = 0; b < batch && !any; ++b) any = !nothing(sent + (b * p.n_pre + row) * kC);
    if (!any) continue;
    synapse.begin(row);
    for (int64_t j = lane; j < synapse.degree; j += kLanes) {
      synapse.generate(j);
      const int64_t place = arrival(late, first, seed, row, j) * p.n_post + synapse.target;
      for (int64_t b = 0; b < batch; ++b) {
        const T* x = sent + (b * p.n_pre + row) * kC;
        if (nothing(x)) continue;
        atomicAdd(ring + b * late.rows * p.n_post + place, kC == 2 ? x[0] + synapse.noise * x[kC - 1] : x[0]);
      }
    }
  }
}

// found[b, pre] = sum over the row's synapses of ring[b, (k + delay) mod rows, post], and the same times noise.
template <typename T, Noise kNoise>
__global__ void collect_rows(int64_t n, Pattern p, Late late, const uint32_t* seed, const int32_t* k, const T* ring,
                             T* found) {
  constexpr int64_t kC = kChannels<kNoise>;
  const int64_t first = first_row(late, *k);
  Synapse<T, kNoise> synapse(p, seed);
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, row = piece / kLanes % p.n_pre, b = piece / kLanes / p.n_pre;
    T sum[2] = {0, 0};
    synapse.begin(row);
    for (int64_t j = lane; j < synapse.degree; j += kLanes) {
      synapse.generate(j);
      const int64_t at = arrival(late, first, seed, row, j);
      const T value = ring[(b * late.rows + at) * p.n_post + synapse.target];
      sum[0] += value;
      sum[1] += synapse.noise * value;
    }
    for (int64_t c = 0; c < kC && lane < synapse.degree; ++c) atomicAdd(found + (b * p.n_pre + row) * kC + c, sum[c]);
  }
}

ffi::Error send(cudaStream_t stream, Any ring, Any sent, Any seed, Any table, Any delays, Any k,
                Numbers numbers, int64_t least, int64_t stride, Out out) {
  LateProblem p{};
  if (out->element_count() != ring.element_count() || out->element_type() != ring.element_type())
    return invalid("the result must be like the ring");
  BRAINSIM_TRY(check_late(*out, sent, seed, table, delays, k, numbers, least, stride, &p));
  BRAINSIM_TRY(alias(stream, ring, *out));
  if (p.pattern.n_post == 0 || p.late.rows == 0) return ffi::Error::Success();
  return dispatch(ring, p.noise, [&](auto zero, auto noise) {
    using T = decltype(zero);
    constexpr Noise kNoise = decltype(noise)::value;
    return launch(stream, send_rows<T, kNoise>, p.pattern.n_pre * kLanes, p.pattern, p.late, p.batch,
                  data<const uint32_t>(seed), data<const int32_t>(k), data<const T>(sent), data<T>(*out));
  });
}

ffi::Error collect(cudaStream_t stream, Any ring, Any seed, Any table, Any delays, Any k, Numbers numbers, int64_t least, int64_t stride,
                   Out out) {
  LateProblem p{};
  BRAINSIM_TRY(check_late(ring, *out, seed, table, delays, k, numbers, least, stride, &p));
  BRAINSIM_TRY(clear(stream, *out));
  if (p.pattern.n_post == 0 || p.late.rows == 0) return ffi::Error::Success();
  return dispatch(ring, p.noise, [&](auto zero, auto noise) {
    using T = decltype(zero);
    constexpr Noise kNoise = decltype(noise)::value;
    return launch(stream, collect_rows<T, kNoise>, p.batch * p.pattern.n_pre * kLanes, p.pattern, p.late,
                  data<const uint32_t>(seed), data<const int32_t>(k), data<const T>(ring), data<T>(*out));
  });
}

}  // namespace
}  // namespace brainsim::regenerating

BRAINSIM_HANDLER(brainsim_procedural_send, regenerating::send, "least", "stride")
BRAINSIM_HANDLER(brainsim_procedural_collect, regenerating::collect, "least", "stride")
