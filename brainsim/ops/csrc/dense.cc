// XLA FFI handlers of the event-driven dense product and convolution: checks, then the loops of dense_kernels.h.
//
//   dense:       spikes [G, B, n_pre] or [n_pre], weights [G, n_pre, n_post] -> [G, B, n_post]
//   convolution: images [G, B, in_size], weights [G, weight_size] -> [G, B, out_size]
// Weights have the type of the vectors, or are bfloat16 for float vectors. Where G = B = 1 these axes may be left out.

#include <cstdint>
#include <limits>
#include <string>

#include "dense_kernels.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

ffi::Error invalid(const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim dense: ") + what); }

// Calls `loop(x, w, y)` for each vector, with pointers of the types of the arrays.
template <typename Loop>
ffi::Error each(const Any& spikes, const Any& weights, const Any& out, int64_t in_size, int64_t weight_size,
                int64_t out_size, Loop loop) {
  const auto x = spikes.dimensions(), y = out.dimensions();
  const bool flat = x.size() == 1;
  if (x.size() != y.size() || (!flat && x.size() != 3)) return invalid("vectors must have one axis or three");
  const int64_t groups = flat ? 1 : x[0], batch = flat ? 1 : x[1];
  if (!flat && (y[0] != groups || y[1] != batch)) return invalid("both vectors must have the same batch axes");
  if (x[x.size() - 1] != in_size || y[y.size() - 1] != out_size ||
      static_cast<int64_t>(weights.element_count()) != groups * weight_size)
    return invalid("vectors and weights do not fit");
  if (in_size > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
  if (out.element_type() != spikes.element_type()) return invalid("vectors must have the same type");
  const auto run = [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    for (int64_t i = 0; i < groups * batch; ++i)
      loop(static_cast<const T*>(spikes.untyped_data()) + i * in_size,
           static_cast<const W*>(weights.untyped_data()) + (i / batch) * weight_size,
           static_cast<T*>(out.untyped_data()) + i * out_size);
    return ffi::Error::Success();
  };
  const auto type = spikes.element_type(), narrow = weights.element_type();
  if (type == ffi::F32 && narrow == ffi::F32) return run(float{}, float{});
  if (type == ffi::F32 && narrow == ffi::BF16) return run(float{}, BFloat16{});
  if (type == ffi::F64 && narrow == ffi::F64) return run(double{}, double{});
  return invalid("no kernel for these types");
}

ffi::Error dense(Any spikes, Any weights, ffi::Result<Any> out) {
  if (spikes.dimensions().size() == 0 || out->dimensions().size() == 0) return invalid("vectors need an axis");
  const int64_t n_pre = spikes.dimensions().back(), n_post = out->dimensions().back();
  return each(spikes, weights, *out, n_pre, n_pre * n_post, n_post,
              [&](const auto* x, const auto* w, auto* y) { dense_scatter(n_pre, n_post, x, w, y); });
}

ffi::Error convolution(Any images, Any weights, ffi::Span<const int64_t> sizes, ffi::Result<Any> out) {
  if (sizes.size() != 12) return invalid("a convolution has 12 sizes");
  for (const int64_t size : sizes)
    if (size < 0 || size > (int64_t{1} << 20)) return invalid("sizes of a convolution must lie between 0 and 2^20");
  const Convolution c{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4],  sizes[5],
                      sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]};
  if (c.stride_y < 1 || c.stride_x < 1) return invalid("strides must be positive");
  if (images.dimensions().size() == 0 || out->dimensions().size() == 0) return invalid("vectors need an axis");
  return each(images, weights, *out, c.in_size(), c.weight_size(), c.out_size(),
              [&](const auto* x, const auto* w, auto* y) { convolution_scatter(c, x, w, y); });
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_TWO xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_dense_scatter, dense, BRAINSIM_TWO)
BRAINSIM_HANDLER(brainsim_convolution_scatter, convolution, BRAINSIM_TWO.Attr<xla::ffi::Span<const int64_t>>("sizes"))
