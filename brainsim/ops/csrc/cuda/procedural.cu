// CUDA twins of procedural.cc: the same operands, the same checks, the same synapses. Normal noise, which takes logarithms
// and cosines, may differ in its last bits.

#include "../procedural_problem.h"
#include "launch.h"

namespace brainsim::regenerating {
namespace {

using namespace cuda;

constexpr int64_t kVectors = 4;  // of a batch, that are gathered at a time

// The synapses of a row, one at a time: what `Generator` in procedural_kernels.h makes many of.
template <typename T, Noise kNoise>
class Synapse {
 public:
  int64_t target, degree = 0;
  T noise = 0;

  __device__ Synapse(const Pattern& pattern, const uint32_t* seed) : p_(pattern), permutation_(pattern.domain) {
    p_.seed[0] = seed[0], p_.seed[1] = seed[1];
    if (p_.partners == Partners::kOfAll) permutation_.draw(p_.seed, 0xFFFFFFFFu);
  }

  __device__ void begin(int64_t row) {
    row_ = static_cast<uint32_t>(row);
    const Span span = span_of(p_, row);
    first_ = span.first, degree = span.degree;
    if (p_.partners == Partners::kDifferent && degree > 0) permutation_.draw(p_.seed, row_);
  }

  __device__ void generate(int64_t j) {
    uint32_t value;
    if (p_.partners == Partners::kIndependent) {
      const Words w = philox_of(p_.seed, row_, static_cast<uint32_t>(j / 2), kTargetStream);
      value = scaled(j % 2 == 0 ? w.word[0] : w.word[2], j % 2 == 0 ? w.word[1] : w.word[3],
                     static_cast<uint64_t>(p_.domain));
    } else {
      value = permutation_.of(static_cast<uint32_t>(first_ + j));
    }
    if (p_.partners == Partners::kOfAll) value /= static_cast<uint32_t>(p_.fan_in);
    target = static_cast<int64_t>(value) + (p_.skip && value >= row_ ? 1 : 0);
    if (kNoise == Noise::kNone) return;
    const Words w = philox_of(p_.seed, row_, static_cast<uint32_t>(j / 4), kNoiseStream);
    if (kNoise == Noise::kUniform) {
      noise = uniform<T>(w.word[j % 4]);
    } else {
      T pair[2];
      normal(w.word[j % 4 / 2 * 2], w.word[j % 4 / 2 * 2 + 1], pair);
      noise = pair[j % 2];
    }
  }

 private:
  Pattern p_;
  Permutation permutation_;
  uint32_t row_ = 0;
  int64_t first_ = 0;
};

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

ffi::Error scatter(cudaStream_t stream, Any in, Any seed, Any table, BRAINSIM_PROCEDURAL_PARAMETERS, Out out) {
  return handle<false>(stream, in, seed, table, BRAINSIM_PROCEDURAL_NUMBERS, *out);
}
ffi::Error gather(cudaStream_t stream, Any in, Any seed, Any table, BRAINSIM_PROCEDURAL_PARAMETERS, Out out) {
  return handle<true>(stream, in, seed, table, BRAINSIM_PROCEDURAL_NUMBERS, *out);
}

}  // namespace
}  // namespace brainsim::regenerating

#define BRAINSIM_CUDA_PROCEDURAL BRAINSIM_PROCEDURAL_ATTRIBUTES(BRAINSIM_CUDA)

BRAINSIM_HANDLER(brainsim_procedural_scatter, regenerating::scatter, BRAINSIM_CUDA_PROCEDURAL)
BRAINSIM_HANDLER(brainsim_procedural_gather, regenerating::gather, BRAINSIM_CUDA_PROCEDURAL)
