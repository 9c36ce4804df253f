// XLA FFI handlers of procedural connectivity with delays: shape checks, then the loops of procedural_late_kernels.h.
//
// Shapes, with a batch of B, a ring of R rows, and C = 1 number sent by each neuron, or 2 if synapses have noise:
//   send:    ring [B, R, n_post], sent [B, n_pre, C] -> ring [B, R, n_post], in place if XLA lets it
//   collect: ring [B, R, n_post]                     -> [B, n_pre, C]
// Both then take the seed [2], the tables of degrees and of delays [any], uint32, and k [], int32. Where B = 1 the batch
// axis may be left out.

#include <cstdint>
#include <cstring>

#include "handlers.h"
#include "procedural_late_kernels.h"
#include "procedural_late_problem.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim::regenerating {
namespace {

struct Work {
  const LateProblem& problem;
  int64_t k;
  void *ring, *vectors;
};

template <bool kCollect, typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void product(const Work& w) {
  const LateProblem& p = w.problem;
  auto *ring = static_cast<T*>(w.ring), *vectors = static_cast<T*>(w.vectors);
  if (kCollect) {
    procedural_collect<T, kNoise>(p.pattern, p.late, w.k, p.batch, ring, vectors);
  } else {
    procedural_send<T, kNoise>(p.pattern, p.late, w.k, p.batch, vectors, ring);
  }
}

template <bool kCollect, typename T, Noise kNoise>
void portable(const Work& w) {
  product<kCollect, T, kNoise>(w);
}

#if BRAINSIM_WIDE
template <bool kCollect, typename T, Noise kNoise>
__attribute__((target("avx2"))) void wide(const Work& w) {
  product<kCollect, T, kNoise>(w);
}
template <bool kCollect, typename T, Noise kNoise>
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"))) void widest(const Work& w) {
  product<kCollect, T, kNoise>(w);
}
#endif

template <bool kCollect, typename T, Noise kNoise>
void run(const Work& w) {
#if BRAINSIM_WIDE
  static const bool has_widest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  static const bool has_wide = __builtin_cpu_supports("avx2");
  if (has_widest) return widest<kCollect, T, kNoise>(w);
  if (has_wide) return wide<kCollect, T, kNoise>(w);
#endif
  portable<kCollect, T, kNoise>(w);
}

template <bool kCollect>
ffi::Error handle(const Any& ring, const Any& vectors, const Any& seed, const Any& table, const Any& delays, const Any& k,
                  const Numbers& numbers, int64_t least, int64_t stride) {
  LateProblem p;
  if (ffi::Error error = check_late(ring, vectors, seed, table, delays, k, numbers, least, stride, &p); error.failure())
    return error;
  const auto* s = data<uint32_t>(seed);
  p.pattern.seed[0] = s[0], p.pattern.seed[1] = s[1];
  const Work work{p, *data<int32_t>(k), ring.untyped_data(), vectors.untyped_data()};
  return dispatch(ring, p.noise, [&](auto zero, auto noise) {
    run<kCollect, decltype(zero), noise.value>(work);
    return ffi::Error::Success();
  });
}

ffi::Error send(Any ring, Any sent, Any seed, Any table, Any delays, Any k, BRAINSIM_LATE_PARAMETERS, Out out) {
  if (out->element_count() != ring.element_count() || out->element_type() != ring.element_type())
    return invalid("the result must be like the ring");
  if (out->untyped_data() != ring.untyped_data())
    std::memcpy(out->untyped_data(), ring.untyped_data(), ring.size_bytes());
  return handle<false>(*out, sent, seed, table, delays, k, BRAINSIM_PROCEDURAL_NUMBERS, least, stride);
}
ffi::Error collect(Any ring, Any seed, Any table, Any delays, Any k, BRAINSIM_LATE_PARAMETERS, Out out) {
  return handle<true>(ring, *out, seed, table, delays, k, BRAINSIM_PROCEDURAL_NUMBERS, least, stride);
}

}  // namespace
}  // namespace brainsim::regenerating

BRAINSIM_HANDLER(brainsim_procedural_send, regenerating::send,
                 BRAINSIM_LATE_ATTRIBUTES(xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>()))
BRAINSIM_HANDLER(brainsim_procedural_collect, regenerating::collect, BRAINSIM_LATE_ATTRIBUTES(xla::ffi::Ffi::Bind()))
