// What a random count is made of, for one neuron: see poisson_kernels.h. Nothing here knows of XLA.

#ifndef BRAINSIM_POISSON_WORDS_H_
#define BRAINSIM_POISSON_WORDS_H_

#include <cmath>
#include <cstdint>

#include "normal.h"
#include "philox.h"

namespace brainsim {

constexpr int kMostThresholds = 128;  // P(X > 60) is below 2^-32 at a mean of 16
constexpr double kTwo32 = 4294967296.0;
constexpr double kMostPerDraw = 16.0, kMostInParts = 65536.0, kMost = 9007199254740992.0;  // 2^53

enum class Process : uint32_t { kPoisson = 0, kBernoulli = 1 };

// The number of the equal parts of a mean; 0 if it has none, being too large, or no mean.
BRAINSIM_HD inline int64_t split(double mean) {
  if (!(mean >= 0.0 && mean <= kMostInParts)) return 0;
  return mean <= kMostPerDraw ? 1 : static_cast<int64_t>(std::ceil(mean / kMostPerDraw));
}

// A mean whose count is a quantile: the parts would be thousands.
BRAINSIM_HD inline bool is_large(double mean) { return mean > kMostInParts && mean <= kMost; }

// That of word / 2^32, expanded about the normal one (Cornish & Fisher 1938, doi:10.2307/1400905), with the term of the
// skewness: what is left out is a hundredth of a count.
BRAINSIM_HD inline double quantile(double mean, uint32_t word) {
  const double z = normal<double>(word);
  return std::floor(mean + (std::sqrt(mean) * z + (z * z - 1.0) / 6.0) + 0.5);
}

// exp(-x) for x from 0 to 16, to 1e-14: a series at x / 64, and six squarings. Only loops over neurons call it, and
// compilers make of it what they cannot make of a library's function: as many results at a time as registers hold.
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE double exp_minus(double x) {
  const double y = x * (-1.0 / 64.0);
  double sum = 1.0 + y / 10.0;
  for (int k = 9; k > 0; --k) sum = 1.0 + y * (1.0 / k) * sum;
  for (int k = 0; k < 6; ++k) sum *= sum;
  return sum;
}

// The number of thresholds that a word reaches: those of a Poisson number of mean `part`, whose P(X = 0) is `none`, or the
// one of a Bernoulli number. The same as `search` in poisson_kernels.h, for one neuron.
BRAINSIM_HD inline int reached(uint32_t word, double part, double none, int most) {
  double p = none, sum = none;
  const double above = static_cast<double>(word) + 1.0;
  int count = 0;
  for (int k = 0; k < most && sum * kTwo32 + 0.5 < above; ++k) {
    ++count;
    p = p * part * (1.0 / (k + 1));
    sum += p;
  }
  return count;
}

}  // namespace brainsim

#endif  // BRAINSIM_POISSON_WORDS_H_
