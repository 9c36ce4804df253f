// The loops of poisson_kernels.h, for a build with the address and undefined-behaviour sanitisers (tests/test_sanitisers.py):
// every array is its own allocation, and the portable loops draw the same integers as those with wide registers.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include "poisson_kernels.h"

using brainsim::Process;

template <typename T>
bool run(std::mt19937& rng, Process process) {
  const T means[] = {0, 1e-6f, 0.3f, 1, 2.5f, 15, 17, 90, -1, static_cast<T>(NAN), static_cast<T>(INFINITY), 1e9f};
  const int64_t n = rng() % 200, n_means = rng() % 2 ? 1 : n;
  const brainsim::Stream stream{rng(), rng(), rng(), process};
  auto mean = std::make_unique<T[]>(std::max<int64_t>(n_means, 1));
  const int64_t kinds = 1 + rng() % 12;
  for (int64_t i = 0; i < n_means; ++i) mean[i] = means[rng() % kinds];
  auto out = std::make_unique<T[]>(n), plain = std::make_unique<T[]>(n);
  if (n == 0) return true;
  brainsim::run<T>(stream, mean.get(), n_means, n, out.get());
  brainsim::fill<T, brainsim::block_of_one_mean, brainsim::portable_search>(stream, mean.get(), n_means, n, plain.get());
  for (int64_t i = 0; i < n; ++i)
    if (out[i] != plain[i] && !(std::isnan(out[i]) && std::isnan(plain[i]))) return false;
  return true;
}

int main() {
  std::mt19937 rng(0);
  for (int i = 0; i < 400; ++i) {
    for (const Process process : {Process::kPoisson, Process::kBernoulli}) {
      if (!run<float>(rng, process) || !run<double>(rng, process)) return std::puts("different"), 1;
    }
  }
  std::puts("ok");
}
