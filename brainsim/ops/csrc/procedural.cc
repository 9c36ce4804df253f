// XLA FFI handlers of procedural connectivity: shape checks, then the loops of procedural_kernels.h.
//
// Shapes, with a batch of B vectors and C = 1 channel, or 2 if synapses have noise:
//   scatter: spikes [B, n_pre]     -> [B, n_post, C]
//   gather:  values [B, n_post, C] -> [B, n_pre]
// Both take the seed [2] and a table [any], uint32. Arrays of a batch may come flat where B = 1.

#include <cstdint>

#include "handlers.h"
#include "procedural_kernels.h"
#include "procedural_problem.h"

namespace brainsim::regenerating {
namespace {

template <bool kGather, typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void product(const Problem& p, const void* in, void* out) {
  if (kGather) {
    procedural_gather<T, kNoisy>(p.pattern, p.noise, p.batch, static_cast<const T*>(in), static_cast<T*>(out));
  } else {
    procedural_scatter<T, kNoisy>(p.pattern, p.noise, p.batch, static_cast<const T*>(in), static_cast<T*>(out));
  }
}

template <bool kGather, typename T, bool kNoisy>
void portable(const Problem& p, const void* in, void* out) {
  product<kGather, T, kNoisy>(p, in, out);
}

#if BRAINSIM_WIDE
template <bool kGather, typename T>
BRAINSIM_WIDEST void fused(const Problem& p, const void* in, void* out) {
  product<kGather, T, true>(p, in, out);
}
#endif

template <bool kGather, typename T, bool kNoisy>
void run(const Problem& p, const void* in, void* out) {
#if BRAINSIM_WIDE
  if (kNoisy && has_widest()) return fused<kGather, T>(p, in, out);  // noise is multiplied, and added, at once
#endif
  portable<kGather, T, kNoisy>(p, in, out);
}

template <bool kGather>
ffi::Error handle(const Any& in, const Any& seed, const Any& table, const Numbers& numbers, const Any& out) {
  Problem p;
  if (ffi::Error error = check(kGather, in, seed, table, numbers, out, &p); error.failure()) return error;
  const auto* s = data<uint32_t>(seed);
  p.pattern.seed[0] = s[0], p.pattern.seed[1] = s[1];
  return dispatch(in, p.noise, [&](auto zero, auto noise) {
    run<kGather, decltype(zero), noise.value != Noise::kNone>(p, in.untyped_data(), out.untyped_data());
    return ffi::Error::Success();
  });
}

ffi::Error scatter(Any in, Any seed, Any table, Numbers numbers, Out out) {
  return handle<false>(in, seed, table, numbers, *out);
}
ffi::Error gather(Any in, Any seed, Any table, Numbers numbers, Out out) {
  return handle<true>(in, seed, table, numbers, *out);
}

}  // namespace
}  // namespace brainsim::regenerating

BRAINSIM_HANDLER(brainsim_procedural_scatter, regenerating::scatter)
BRAINSIM_HANDLER(brainsim_procedural_gather, regenerating::gather)
