// XLA FFI handler of the event-driven product with rows of equal length: checks, then the loop of fan_out_kernels.h.
//
//   spikes [G, B, n_pre] or [n_pre], weights [G, n_pre, k] or [n_pre, k] or none, indices [n_pre, k] -> [G, B, n_post]
// Weights have the type of the spikes, or are bfloat16 for float spikes.

#include <cstdint>
#include <limits>
#include <string>

#include "fan_out_kernels.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

ffi::Error invalid(const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim fan-out: ") + what); }

struct Sizes {
  int64_t groups, batch, n_pre, k, n_post;
};

template <typename T, typename W, bool kWeighted>
ffi::Error run(const Sizes& s, const Any& spikes, const Any* weights, const Any& indices, const Any& out) {
  const auto* x = static_cast<const T*>(spikes.untyped_data());
  const auto* w = kWeighted ? static_cast<const W*>(weights->untyped_data()) : nullptr;
  const auto* at = static_cast<const int32_t*>(indices.untyped_data());
  auto* y = static_cast<T*>(out.untyped_data());
  for (int64_t i = 0; i < s.groups * s.batch; ++i)
    fan_out_scatter<T, W, kWeighted>(s.n_pre, s.k, s.n_post, x + i * s.n_pre,
                                     kWeighted ? w + (i / s.batch) * s.n_pre * s.k : nullptr, at, y + i * s.n_post);
  return ffi::Error::Success();
}

ffi::Error handle(const Any& spikes, const Any* weights, const Any& indices, const Any& out) {
  const auto x = spikes.dimensions(), y = out.dimensions(), at = indices.dimensions();
  if (indices.element_type() != ffi::S32 || at.size() != 2) return invalid("indices must be int32 with two axes");
  if (x.size() != y.size() || (x.size() != 1 && x.size() != 3)) return invalid("vectors must have one axis or three");
  const bool flat = x.size() == 1;
  const Sizes s{flat ? 1 : x[0], flat ? 1 : x[1], x[x.size() - 1], at[1], y[y.size() - 1]};
  if (!flat && (y[0] != s.groups || y[1] != s.batch)) return invalid("both vectors must have the same batch axes");
  if (at[0] != s.n_pre) return invalid("there must be one row of indices per neuron");
  if (s.n_post > std::numeric_limits<int32_t>::max() || s.n_pre > std::numeric_limits<int32_t>::max())
    return invalid("too many neurons for 32-bit indices");
  if (out.element_type() != spikes.element_type()) return invalid("vectors must have the same type");
  if (weights != nullptr && static_cast<int64_t>(weights->element_count()) != s.groups * s.n_pre * s.k)
    return invalid("weights must have one entry per synapse");
  if (spikes.element_type() == ffi::F32) {
    if (weights == nullptr) return run<float, float, false>(s, spikes, nullptr, indices, out);
    if (weights->element_type() == ffi::F32) return run<float, float, true>(s, spikes, weights, indices, out);
    if (weights->element_type() == ffi::BF16) return run<float, BFloat16, true>(s, spikes, weights, indices, out);
  } else if (spikes.element_type() == ffi::F64) {
    if (weights == nullptr) return run<double, double, false>(s, spikes, nullptr, indices, out);
    if (weights->element_type() == ffi::F64) return run<double, double, true>(s, spikes, weights, indices, out);
  }
  return invalid("no kernel for these types");
}

ffi::Error weighted(Any spikes, Any weights, Any indices, ffi::Result<Any> out) {
  return handle(spikes, &weights, indices, *out);
}
ffi::Error unit(Any spikes, Any indices, ffi::Result<Any> out) { return handle(spikes, nullptr, indices, *out); }

}  // namespace
}  // namespace brainsim

#define BRAINSIM_TWO xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_fan_out_scatter, weighted, BRAINSIM_TWO.Arg<xla::ffi::AnyBuffer>())
BRAINSIM_HANDLER(brainsim_fan_out_scatter_unit, unit, BRAINSIM_TWO)
