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

namespace brainsim::regenerating {
namespace {

struct Work {
  const LateProblem& problem;
  int64_t k;
  void *ring, *vectors;
};

template <bool kCollect, typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void product(const Work& w) {
  const LateProblem& p = w.problem;
  auto *ring = static_cast<T*>(w.ring), *vectors = static_cast<T*>(w.vectors);
  if (kCollect) {
    procedural_collect<T, kNoisy>(p.pattern, p.noise, p.late, w.k, p.batch, ring, vectors);
  } else {
    procedural_send<T, kNoisy>(p.pattern, p.noise, p.late, w.k, p.batch, vectors, ring);
  }
}

template <bool kCollect, typename T, bool kNoisy>
void portable(const Work& w) {
  product<kCollect, T, kNoisy>(w);
}

#if BRAINSIM_WIDE
template <bool kCollect, typename T>
BRAINSIM_WIDEST void fused(const Work& w) {
  product<kCollect, T, true>(w);
}
#endif

template <bool kCollect, typename T, bool kNoisy>
void run(const Work& w) {
#if BRAINSIM_WIDE
  if (kNoisy && has_widest()) return fused<kCollect, T>(w);  // noise is multiplied, and added, at once
#endif
  portable<kCollect, T, kNoisy>(w);
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
    run<kCollect, decltype(zero), noise.value != Noise::kNone>(work);
    return ffi::Error::Success();
  });
}

ffi::Error send(Any ring, Any sent, Any seed, Any table, Any delays, Any k, Numbers numbers, int64_t least, int64_t stride, Out out) {
  if (out->element_count() != ring.element_count() || out->element_type() != ring.element_type())
    return invalid("the result must be like the ring");
  if (out->untyped_data() != ring.untyped_data())
    std::memcpy(out->untyped_data(), ring.untyped_data(), ring.size_bytes());
  return handle<false>(*out, sent, seed, table, delays, k, numbers, least, stride);
}
ffi::Error collect(Any ring, Any seed, Any table, Any delays, Any k, Numbers numbers, int64_t least, int64_t stride, Out out) {
  return handle<true>(ring, *out, seed, table, delays, k, numbers, least, stride);
}

}  // namespace
}  // namespace brainsim::regenerating

BRAINSIM_HANDLER(brainsim_procedural_send, regenerating::send, "least", "stride")
BRAINSIM_HANDLER(brainsim_procedural_collect, regenerating::collect, "least", "stride")
