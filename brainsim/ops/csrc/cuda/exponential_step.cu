// CUDA twin of exponential_step.cc: the same operands, the same check, the same series.

#include "../exponential.h"
#include "../exponential_problem.h"
#include "launch.h"

namespace brainsim::cuda {
namespace {

template <typename T>
__global__ void step_elements(int64_t n, const T* y, const T* pairs, T* out) {
  using Bits = typename Constants<T>::Bits;
  for (int64_t i = first_piece(); i < n; i += all_threads()) {
    const T z = pairs[2 * i], x = pairs[2 * i + 1];
    const T factor = away<T, T, Bits>(z) ? far<T, T, Bits>(z) : series<T, Constants<T>::kNearTerms>(z);
    out[i] = y[i] + factor * x;
  }
}

ffi::Error exponential_step(cudaStream_t stream, Any y, Any pairs, Out out) {
  BRAINSIM_TRY(check_exponential(y, pairs, *out));
  return typed(y, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, step_elements<T>, count(y), data<const T>(y), data<const T>(pairs), data<T>(*out));
  });
}

}  // namespace
}  // namespace brainsim::cuda

BRAINSIM_HANDLER(brainsim_exponential_step, cuda::exponential_step)
