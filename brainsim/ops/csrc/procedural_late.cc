// XLA FFI handlers of procedural connectivity with delays: shape checks, then the loops of procedural_late_kernels.h.
//
// Shapes, with a batch of B, a ring of R rows, and C = 1 number sent by each neuron, or 2 if synapses have noise:
//   send:    ring [B, R, n_post], sent [B, n_pre, C] -> ring [B, R, n_post], in place if XLA lets it
//   collect: ring [B, R, n_post]                     -> [B, n_pre, C]
// Both then take the seed [2], the tables of degrees and of delays [any], uint32, and k [], int32. Where B = 1 the batch
// axis may be left out.

#include <cstdint>
#include <cstring>
#include <string>

#include "handlers.h"
#include "procedural_late_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument(std::string("brainsim procedural delays: ") + what);
}

struct Work {
  Pattern pattern;
  Late late;
  int64_t batch;
  void *ring, *vectors;
};

template <bool kCollect, typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void product(const Work& w) {
  if (kCollect) {
    procedural_collect<T, kNoise>(w.pattern, w.late, w.batch, static_cast<const T*>(w.ring), static_cast<T*>(w.vectors));
  } else {
    procedural_send<T, kNoise>(w.pattern, w.late, w.batch, static_cast<const T*>(w.vectors), static_cast<T*>(w.ring));
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

template <bool kCollect, typename T>
ffi::Error run_noise(int64_t noise, const Work& w) {
  switch (static_cast<Noise>(noise)) {
    case Noise::kNone:
      run<kCollect, T, Noise::kNone>(w);
      return ffi::Error::Success();
    case Noise::kUniform:
      run<kCollect, T, Noise::kUniform>(w);
      return ffi::Error::Success();
    case Noise::kNormal:
      run<kCollect, T, Noise::kNormal>(w);
      return ffi::Error::Success();
  }
  return invalid("unknown kind of noise");
}

struct Numbers {
  int64_t partners, noise, n_pre, n_post, domain, degree, fan_in, skip, least, stride;
};

template <bool kCollect>
ffi::Error handle(const Any& ring, const Any& vectors, const Any& seed, const Any& table, const Any& delays, const Any& k,
                  const Numbers& n) {
  for (const Any* x : {&seed, &table, &delays})
    if (x->element_type() != ffi::U32) return invalid("seed and tables must be uint32");
  if (seed.element_count() != 2) return invalid("the seed must have two entries");
  if (k.element_type() != ffi::S32 || k.element_count() != 1) return invalid("k must be one int32");
  const auto axes = ring.dimensions();
  if (axes.size() != 2 && axes.size() != 3) return invalid("the ring must have rows [R, n_post]");
  const int64_t batch = axes.size() == 3 ? axes[0] : 1, rows = axes[axes.size() - 2], channels = n.noise == 0 ? 1 : 2;
  if (axes.back() != n.n_post || static_cast<int64_t>(vectors.element_count()) != batch * n.n_pre * channels)
    return invalid("arrays must have one entry per neuron");
  if (ring.element_type() != vectors.element_type()) return invalid("arrays must have the same type");
  const auto* s = static_cast<const uint32_t*>(seed.untyped_data());
  const Pattern p{static_cast<Partners>(n.partners), n.n_pre, n.n_post, n.domain, n.degree, n.fan_in, n.skip != 0, {s[0], s[1]},
                  static_cast<const uint32_t*>(table.untyped_data()), static_cast<int64_t>(table.element_count())};
  if (const char* what = fault(p); what != nullptr) return invalid(what);
  const Late late{n.least, n.stride, rows, *static_cast<const int32_t*>(k.untyped_data()),
                  static_cast<const uint32_t*>(delays.untyped_data()), static_cast<int64_t>(delays.element_count())};
  if (const char* what = fault(late); what != nullptr) return invalid(what);
  const Work work{p, late, batch, ring.untyped_data(), vectors.untyped_data()};
  switch (ring.element_type()) {
    case ffi::F32:
      return run_noise<kCollect, float>(n.noise, work);
    case ffi::F64:
      return run_noise<kCollect, double>(n.noise, work);
    default:
      return invalid("arrays must be float32 or float64");
  }
}

ffi::Error send(Any ring, Any sent, Any seed, Any table, Any delays, Any k, int64_t partners, int64_t noise, int64_t n_pre,
                int64_t n_post, int64_t domain, int64_t degree, int64_t fan_in, int64_t skip, int64_t least, int64_t stride,
                ffi::Result<Any> out) {
  if (out->element_count() != ring.element_count() || out->element_type() != ring.element_type())
    return invalid("the result must be like the ring");
  if (out->untyped_data() != ring.untyped_data())
    std::memcpy(out->untyped_data(), ring.untyped_data(), ring.size_bytes());
  return handle<false>(*out, sent, seed, table, delays, k,
                       {partners, noise, n_pre, n_post, domain, degree, fan_in, skip, least, stride});
}
ffi::Error collect(Any ring, Any seed, Any table, Any delays, Any k, int64_t partners, int64_t noise, int64_t n_pre,
                   int64_t n_post, int64_t domain, int64_t degree, int64_t fan_in, int64_t skip, int64_t least,
                   int64_t stride, ffi::Result<Any> out) {
  return handle<true>(ring, *out, seed, table, delays, k,
                      {partners, noise, n_pre, n_post, domain, degree, fan_in, skip, least, stride});
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_ARG .Arg<xla::ffi::AnyBuffer>()
#define BRAINSIM_NUMBER(name) .Attr<int64_t>(name)
#define BRAINSIM_NUMBERS                                                                                          \
  BRAINSIM_NUMBER("partners") BRAINSIM_NUMBER("noise") BRAINSIM_NUMBER("n_pre") BRAINSIM_NUMBER("n_post")         \
  BRAINSIM_NUMBER("domain") BRAINSIM_NUMBER("degree") BRAINSIM_NUMBER("fan_in") BRAINSIM_NUMBER("skip")           \
  BRAINSIM_NUMBER("least") BRAINSIM_NUMBER("stride")

BRAINSIM_HANDLER(brainsim_procedural_send, send,
                 xla::ffi::Ffi::Bind() BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG
                     BRAINSIM_NUMBERS)
BRAINSIM_HANDLER(brainsim_procedural_collect, collect,
                 xla::ffi::Ffi::Bind() BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG
                     BRAINSIM_NUMBERS)
