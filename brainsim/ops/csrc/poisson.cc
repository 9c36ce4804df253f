// XLA FFI handlers of random counts: shape checks, then the loops of poisson_kernels.h.
//
// key [B, 2] and step [B, 1], uint32; means [B, 1] or [B, n] -> counts [B, n], of the means' type. Where B = 1 the batch
// axis may be left out.

#include <cstdint>

#include "handlers.h"
#include "poisson_kernels.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;

template <typename T>
void batch(const ffi::AnyBuffer& key, const ffi::AnyBuffer& step, const ffi::AnyBuffer& means, ffi::AnyBuffer& out,
           int64_t groups, Process process) {
  const auto* keys = static_cast<const uint32_t*>(key.untyped_data());
  const auto* steps = static_cast<const uint32_t*>(step.untyped_data());
  const int64_t n = static_cast<int64_t>(out.element_count()) / groups;
  const int64_t count = static_cast<int64_t>(means.element_count()) / groups;
  for (int64_t b = 0; b < groups; ++b)
    run<T>({keys[2 * b], keys[2 * b + 1], steps[b], process}, static_cast<const T*>(means.untyped_data()) + b * count,
           count, n, static_cast<T*>(out.untyped_data()) + b * n);
}

ffi::Error counts(const ffi::AnyBuffer& key, const ffi::AnyBuffer& step, const ffi::AnyBuffer& means,
                  ffi::AnyBuffer& out, Process process) {
  const auto groups = static_cast<int64_t>(step.element_count());
  const auto n_means = static_cast<int64_t>(means.element_count()), n_out = static_cast<int64_t>(out.element_count());
  if (key.element_type() != ffi::U32 || step.element_type() != ffi::U32)
    return ffi::Error::InvalidArgument("brainsim Poisson: key and step must be uint32");
  if (means.element_type() != out.element_type())
    return ffi::Error::InvalidArgument("brainsim Poisson: means and counts must have the same type");
  if (n_out == 0) return ffi::Error::Success();
  if (groups == 0 || static_cast<int64_t>(key.element_count()) != 2 * groups || n_out % groups != 0 ||
      (n_means != groups && n_means != n_out) || n_out / groups > (int64_t{1} << 34))
    return ffi::Error::InvalidArgument("brainsim Poisson: the shapes do not fit");
  if (means.element_type() == ffi::F32) {
    batch<float>(key, step, means, out, groups, process);
  } else if (means.element_type() == ffi::F64) {
    batch<double>(key, step, means, out, groups, process);
  } else {
    return ffi::Error::InvalidArgument("brainsim Poisson: means must be float32 or float64");
  }
  return ffi::Error::Success();
}

ffi::Error poisson(ffi::AnyBuffer key, ffi::AnyBuffer step, ffi::AnyBuffer means, ffi::Result<ffi::AnyBuffer> out) {
  return counts(key, step, means, *out, Process::kPoisson);
}
ffi::Error bernoulli(ffi::AnyBuffer key, ffi::AnyBuffer step, ffi::AnyBuffer means, ffi::Result<ffi::AnyBuffer> out) {
  return counts(key, step, means, *out, Process::kBernoulli);
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_PROCESS \
  xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_poisson, poisson, BRAINSIM_PROCESS)
BRAINSIM_HANDLER(brainsim_bernoulli, bernoulli, BRAINSIM_PROCESS)
