// CUDA twins of poisson.cc: the same operands, the same checks, the same integers.

#include "../poisson_problem.h"
#include "../poisson_words.h"
#include "launch.h"

namespace brainsim::counting {
namespace {

using namespace cuda;

constexpr int64_t kCounters = 8, kServed = 4;  // of a block of neurons, and the neurons that a counter serves

// One counter, in each draw, and the neurons that its words serve: 8 w + l of a block, for w = 0 .. 3.
template <typename T>
__global__ void draw_counts(int64_t n, Problem p, Process process, const uint32_t* keys, const uint32_t* steps,
                            const T* means, T* out) {
  const int64_t counters = n / p.groups;
  const bool poisson = process == Process::kPoisson;
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t group = piece / counters, counter = piece % counters;
    const int64_t first = counter / kCounters * (kCounters * kServed) + counter % kCounters;
    const T* mean_of = means + group * p.n_means;
    double part[kServed] = {0, 0, 0, 0}, none[kServed] = {0, 0, 0, 0};
    int64_t draws[kServed] = {0, 0, 0, 0}, most = 0, sum[kServed] = {0, 0, 0, 0};
    for (int64_t w = 0; w < kServed && first + w * kCounters < p.n; ++w) {
      const double mean = static_cast<double>(mean_of[p.n_means == 1 ? 0 : first + w * kCounters]);
      draws[w] = poisson ? split(mean) : mean >= 0.0;
      if (draws[w] == 0) continue;
      part[w] = mean / static_cast<double>(draws[w]);
      none[w] = poisson ? exp_minus(part[w]) : 1.0 - part[w];
      if (draws[w] > most) most = draws[w];
    }
    for (int64_t draw = 0; draw < most; ++draw) {
      const Words words = philox(static_cast<uint32_t>(counter), steps[group], static_cast<uint32_t>(draw),
                                 static_cast<uint32_t>(process), keys[2 * group], keys[2 * group + 1]);
      for (int64_t w = 0; w < kServed; ++w)
        if (draw < draws[w]) sum[w] += reached(words.word[w], part[w], none[w], poisson ? kMostThresholds : 1);
    }
    T* counts = out + group * p.n;
    for (int64_t w = 0; w < kServed && first + w * kCounters < p.n; ++w) {
      T& count = counts[first + w * kCounters];
      count = draws[w] > 0 ? static_cast<T>(sum[w]) : static_cast<T>(NAN);
      const double mean = static_cast<double>(mean_of[p.n_means == 1 ? 0 : first + w * kCounters]);
      if (!poisson || !is_large(mean)) continue;
      const Words words = philox(static_cast<uint32_t>(counter), steps[group], 0, static_cast<uint32_t>(process),
                                 keys[2 * group], keys[2 * group + 1]);
      count = static_cast<T>(quantile(mean, words.word[w]));
    }
  }
}

ffi::Error counts(cudaStream_t stream, const Any& key, const Any& step, const Any& means, const Any& out,
                  Process process) {
  Problem p{};
  BRAINSIM_TRY(check(key, step, means, out, &p));
  const int64_t blocks = (p.n + kCounters * kServed - 1) / (kCounters * kServed);
  return typed(means, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, draw_counts<T>, p.groups * blocks * kCounters, p, process, data<const uint32_t>(key),
                  data<const uint32_t>(step), data<const T>(means), data<T>(out));
  });
}

ffi::Error poisson(cudaStream_t stream, Any key, Any step, Any means, Out out) {
  return counts(stream, key, step, means, *out, Process::kPoisson);
}
ffi::Error bernoulli(cudaStream_t stream, Any key, Any step, Any means, Out out) {
  return counts(stream, key, step, means, *out, Process::kBernoulli);
}

}  // namespace
}  // namespace brainsim::counting

BRAINSIM_HANDLER(brainsim_poisson, counting::poisson)
BRAINSIM_HANDLER(brainsim_bernoulli, counting::bernoulli)
