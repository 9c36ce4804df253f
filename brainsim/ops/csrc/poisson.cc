// XLA FFI handlers of random counts: shape checks, then the loops of poisson_kernels.h.
//
// key [B, 2] and step [B, 1], uint32; means [B, 1] or [B, n] -> counts [B, n], of the means' type. Where B = 1 the batch
// axis may be left out.

#include <cstdint>

#include "handlers.h"
#include "poisson_kernels.h"
#include "poisson_problem.h"

namespace brainsim::counting {
namespace {

template <typename T>
void all(const Problem& p, const Any& key, const Any& step, const Any& means, const Any& out, Process process) {
  const auto *keys = data<uint32_t>(key), *steps = data<uint32_t>(step);
  for (int64_t b = 0; b < p.groups; ++b)
    run<T>({keys[2 * b], keys[2 * b + 1], steps[b], process}, data<T>(means) + b * p.n_means, p.n_means, p.n,
           data<T>(out) + b * p.n);
}

ffi::Error counts(const Any& key, const Any& step, const Any& means, const Any& out, Process process) {
  Problem p;
  if (ffi::Error error = check(key, step, means, out, &p); error.failure()) return error;
  means.element_type() == ffi::F32 ? all<float>(p, key, step, means, out, process)
                                   : all<double>(p, key, step, means, out, process);
  return ffi::Error::Success();
}

ffi::Error poisson(Any key, Any step, Any means, Out out) {
  return counts(key, step, means, *out, Process::kPoisson);
}
ffi::Error bernoulli(Any key, Any step, Any means, Out out) {
  return counts(key, step, means, *out, Process::kBernoulli);
}

}  // namespace
}  // namespace brainsim::counting

BRAINSIM_HANDLER(brainsim_poisson, counting::poisson)
BRAINSIM_HANDLER(brainsim_bernoulli, counting::bernoulli)
