// XLA FFI handlers of procedural connectivity: shape checks, then the loops of procedural_kernels.h.
//
// Shapes, with a batch of B vectors and C = 1 channel, or 2 if synapses have noise:
//   scatter: spikes [B, n_pre]     -> [B, n_post, C]
//   gather:  values [B, n_post, C] -> [B, n_pre]
// Both take the seed [2] and a table [any], uint32. Arrays of a batch may come flat where B = 1.

#include <cstdint>
#include <string>

#include "handlers.h"
#include "procedural_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument(std::string("brainsim procedural: ") + what);
}

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

template <bool kGather, typename T>
ffi::Error run_noise(const Pattern& p, int64_t noise, int64_t batch, const void* in, void* out) {
  switch (static_cast<Noise>(noise)) {
    case Noise::kNone:
      run<kGather, T, Noise::kNone>(p, batch, in, out);
      return ffi::Error::Success();
    case Noise::kUniform:
      run<kGather, T, Noise::kUniform>(p, batch, in, out);
      return ffi::Error::Success();
    case Noise::kNormal:
      run<kGather, T, Noise::kNormal>(p, batch, in, out);
      return ffi::Error::Success();
  }
  return invalid("unknown kind of noise");
}

template <bool kGather>
ffi::Error handle(const Any& in, const Any& seed, const Any& table, int64_t partners, int64_t noise,
                  int64_t n_pre, int64_t n_post, int64_t domain, int64_t degree, int64_t fan_in, int64_t skip,
                  const Any& out) {
  const int64_t channels = noise == 0 ? 1 : 2;
  const Any& pre = kGather ? out : in;
  const Any& post = kGather ? in : out;
  const int64_t batch = pre.dimensions().size() > 1 ? pre.dimensions()[0] : 1;
  if (static_cast<int64_t>(pre.element_count()) != batch * n_pre ||
      static_cast<int64_t>(post.element_count()) != batch * n_post * channels)
    return invalid("vectors must have one entry per neuron");
  if (in.element_type() != out.element_type()) return invalid("vectors must have the same type");
  if (seed.element_type() != ffi::U32 || table.element_type() != ffi::U32) return invalid("seed and table must be uint32");
  if (seed.element_count() != 2) return invalid("the seed must have two entries");
  const int64_t table_size = static_cast<int64_t>(table.element_count());
  const auto* s = static_cast<const uint32_t*>(seed.untyped_data());
  const Pattern p{static_cast<Partners>(partners), n_pre, n_post, domain, degree, fan_in, skip != 0, {s[0], s[1]},
                  static_cast<const uint32_t*>(table.untyped_data()), table_size};
  if (const char* what = fault(p); what != nullptr) return invalid(what);
  switch (in.element_type()) {
    case ffi::F32:
      return run_noise<kGather, float>(p, noise, batch, in.untyped_data(), out.untyped_data());
    case ffi::F64:
      return run_noise<kGather, double>(p, noise, batch, in.untyped_data(), out.untyped_data());
    default:
      return invalid("vectors must be float32 or float64");
  }
}

ffi::Error procedural_scatter_handler(Any in, Any seed, Any table, int64_t partners, int64_t noise,
                                      int64_t n_pre, int64_t n_post, int64_t domain, int64_t degree, int64_t fan_in,
                                      int64_t skip, ffi::Result<Any> out) {
  return handle<false>(in, seed, table, partners, noise, n_pre, n_post, domain, degree, fan_in, skip, *out);
}
ffi::Error procedural_gather_handler(Any in, Any seed, Any table, int64_t partners, int64_t noise,
                                     int64_t n_pre, int64_t n_post, int64_t domain, int64_t degree, int64_t fan_in,
                                     int64_t skip, ffi::Result<Any> out) {
  return handle<true>(in, seed, table, partners, noise, n_pre, n_post, domain, degree, fan_in, skip, *out);
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_PROCEDURAL                                                                                   \
  xla::ffi::Ffi::Bind()                                                                                       \
      .Arg<xla::ffi::AnyBuffer>()                                                                             \
      .Arg<xla::ffi::AnyBuffer>()                                                                             \
      .Arg<xla::ffi::AnyBuffer>()                                                                             \
      .Attr<int64_t>("partners")                                                                              \
      .Attr<int64_t>("noise")                                                                                 \
      .Attr<int64_t>("n_pre")                                                                                 \
      .Attr<int64_t>("n_post")                                                                                \
      .Attr<int64_t>("domain")                                                                                \
      .Attr<int64_t>("degree")                                                                                \
      .Attr<int64_t>("fan_in")                                                                                \
      .Attr<int64_t>("skip")

BRAINSIM_HANDLER(brainsim_procedural_scatter, procedural_scatter_handler, BRAINSIM_PROCEDURAL)
BRAINSIM_HANDLER(brainsim_procedural_gather, procedural_gather_handler, BRAINSIM_PROCEDURAL)
