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
#include "xla/ffi/api/ffi.h"

namespace brainsim::regenerating {
namespace {

template <bool kGather, typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void product(const Pattern& p, int64_t batch, const void* in, void* out) {
  if (kGather) {
    procedural_gather<T, kNoise>(p, batch, static_cast<const T*>(in), static_cast<T*>(out));
  } else {
    procedural_scatter<T, kNoise>(p, batch, static_cast<const T*>(in), static_cast<T*>(out));
  }
}

template <bool kGather, typename T, Noise kNoise>
void portable(const Pattern& p, int64_t batch, const void* in, void* out) {
  product<kGather, T, kNoise>(p, batch, in, out);
}

#if BRAINSIM_WIDE
template <bool kGather, typename T, Noise kNoise>
__attribute__((target("avx2"))) void wide(const Pattern& p, int64_t batch, const void* in, void* out) {
  product<kGather, T, kNoise>(p, batch, in, out);
}
template <bool kGather, typename T, Noise kNoise>
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"))) void widest(
    const Pattern& p, int64_t batch, const void* in, void* out) {
  product<kGather, T, kNoise>(p, batch, in, out);
}
#endif

template <bool kGather, typename T, Noise kNoise>
void run(const Pattern& p, int64_t batch, const void* in, void* out) {
#if BRAINSIM_WIDE
  static const bool has_widest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  static const bool has_wide = __builtin_cpu_supports("avx2");
  if (has_widest) return widest<kGather, T, kNoise>(p, batch, in, out);
  if (has_wide) return wide<kGather, T, kNoise>(p, batch, in, out);
#endif
  portable<kGather, T, kNoise>(p, batch, in, out);
}

template <bool kGather>
ffi::Error handle(const Any& in, const Any& seed, const Any& table, const Numbers& numbers, const Any& out) {
  Problem p;
  if (ffi::Error error = check(kGather, in, seed, table, numbers, out, &p); error.failure()) return error;
  const auto* s = data<uint32_t>(seed);
  p.pattern.seed[0] = s[0], p.pattern.seed[1] = s[1];
  return dispatch(in, p.noise, [&](auto zero, auto noise) {
    run<kGather, decltype(zero), noise.value>(p.pattern, p.batch, in.untyped_data(), out.untyped_data());
    return ffi::Error::Success();
  });
}

ffi::Error scatter(Any in, Any seed, Any table, BRAINSIM_PROCEDURAL_PARAMETERS, Out out) {
  return handle<false>(in, seed, table, BRAINSIM_PROCEDURAL_NUMBERS, *out);
}
ffi::Error gather(Any in, Any seed, Any table, BRAINSIM_PROCEDURAL_PARAMETERS, Out out) {
  return handle<true>(in, seed, table, BRAINSIM_PROCEDURAL_NUMBERS, *out);
}

}  // namespace
}  // namespace brainsim::regenerating

#define BRAINSIM_PROCEDURAL BRAINSIM_PROCEDURAL_ATTRIBUTES(xla::ffi::Ffi::Bind())

BRAINSIM_HANDLER(brainsim_procedural_scatter, regenerating::scatter, BRAINSIM_PROCEDURAL)
BRAINSIM_HANDLER(brainsim_procedural_gather, regenerating::gather, BRAINSIM_PROCEDURAL)
