// Random counts of point processes: Poisson and Bernoulli numbers, each a function of (key, step, neuron) only.
//
// Neuron i of a step has its own 32-bit words of the counter-based generator Philox 4x32-10 (Salmon et al. 2011,
// doi:10.1145/2063384.2063405). A word w becomes the number of thresholds that it reaches, #{k : w >= 2^32 P(X <= k)}:
// inversion of the distribution function, whose probabilities are right to 2^-32. A mean above 16 is split into equal
// parts, whose counts add up; above 65,536 the count is a quantile. `ops/_poisson.py` has the same in plain JAX, and gives
// the same integers.

#ifndef BRAINSIM_POISSON_KERNELS_H_
#define BRAINSIM_POISSON_KERNELS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "poisson_words.h"

#if BRAINSIM_WIDE
#include <immintrin.h>
#endif

namespace brainsim {

constexpr int kLanes = 8, kWords = 4, kBlock = kLanes * kWords;  // neurons served by 8 counters of 4 words each
constexpr int64_t kEnd = int64_t{1} << 32;  // above every word

struct Stream {
  uint32_t key0, key1, step;
  Process process;
};

// What turns a word into a count, for one mean.
struct Table {
  uint32_t thresholds[kMostThresholds];
  int size = 0;
  int64_t draws = 1;
  bool valid = true;
};

// A probability as a threshold of 32-bit words. Far fewer bits than a double has: that its last ones may differ between
// programs does not matter.
inline int64_t fixed(double probability) { return static_cast<int64_t>(probability * kTwo32 + 0.5); }

struct Reciprocals {
  double of[kMostThresholds] = {0};  // of k + 1
  constexpr Reciprocals() {
    for (int k = 0; k < kMostThresholds; ++k) of[k] = 1.0 / (k + 1);
  }
};
inline constexpr Reciprocals kReciprocals;

inline Table table(double mean, Process process) {
  Table t;
  if (process == Process::kBernoulli) {
    t.valid = mean >= 0.0;
    const int64_t threshold = t.valid && mean <= 1.0 ? fixed(1.0 - mean) : 0;
    if (threshold < kEnd) t.thresholds[t.size++] = static_cast<uint32_t>(threshold);
    return t;
  }
  t.draws = split(mean);
  t.valid = t.draws > 0;
  if (!t.valid) return t;
  const double part = mean / static_cast<double>(t.draws);
  double p = exp_minus(part), sum = p;
  for (int k = 0; k < kMostThresholds && fixed(sum) < kEnd; ++k) {
    t.thresholds[t.size++] = static_cast<uint32_t>(fixed(sum));
    p = p * part * kReciprocals.of[k];
    sum = sum + p;
  }
  return t;
}

// The words of the 32 neurons of one block: word w of counter l serves neuron 8 w + l.
inline void words(const Stream& s, uint32_t block, uint32_t draw, uint32_t* out) {
  for (uint32_t l = 0; l < kLanes; ++l) {
    const Words w = philox(block * kLanes + l, s.step, draw, static_cast<uint32_t>(s.process), s.key0, s.key1);
    for (uint32_t k = 0; k < kWords; ++k) out[k * kLanes + l] = w.word[k];
  }
}

// The counts of one block whose neurons share a mean.
inline void block_of_one_mean(const Stream& s, const Table& t, uint32_t block, int32_t* counts) {
  std::fill_n(counts, kBlock, 0);
  for (int64_t draw = 0; draw < t.draws; ++draw) {
    uint32_t w[kBlock];
    words(s, block, static_cast<uint32_t>(draw), w);
    for (int i = 0; i < kBlock; ++i)
      for (int k = 0; k < t.size; ++k) counts[i] += w[i] >= t.thresholds[k];
  }
}

#if BRAINSIM_WIDE
#define BRAINSIM_AVX2 __attribute__((target("avx2")))

// The low and the high halves of eight products of 32-bit numbers.
BRAINSIM_AVX2 inline void product(__m256i a, __m256i m, __m256i* low, __m256i* high) {
  const __m256i even = _mm256_mul_epu32(a, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), m);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

BRAINSIM_AVX2 inline __m256i all(uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); }

// `words`, eight counters at a time.
BRAINSIM_AVX2 inline void wide_words(const Stream& s, uint32_t block, uint32_t draw, __m256i* c) {
  const __m256i m0 = all(kM0), m1 = all(kM1), lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  c[0] = _mm256_add_epi32(all(block * kLanes), lane), c[1] = all(s.step), c[2] = all(draw);
  c[3] = all(static_cast<uint32_t>(s.process));
  uint32_t k0 = s.key0, k1 = s.key1;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    __m256i low0, high0, low1, high1;
    product(c[0], m0, &low0, &high0);
    product(c[2], m1, &low1, &high1);
    c[0] = _mm256_xor_si256(high1, _mm256_xor_si256(c[1], all(k0)));
    c[2] = _mm256_xor_si256(high0, _mm256_xor_si256(c[3], all(k1)));
    c[1] = low1, c[3] = low0;
    k0 += kW0, k1 += kW1;
  }
}

// `block_of_one_mean`, eight neurons at a time.
BRAINSIM_AVX2 inline void wide_block_of_one_mean(const Stream& s, const Table& t, uint32_t block, int32_t* counts) {
  __m256i c[kWords], sum[kWords];
  for (__m256i& x : sum) x = all(static_cast<uint32_t>(t.size * t.draws));
  for (int64_t draw = 0; draw < t.draws; ++draw) {
    wide_words(s, block, static_cast<uint32_t>(draw), c);
    // Signed numbers are compared: hence the flipped sign bits. A word below a threshold takes 1 from the full count.
    for (__m256i& x : c) x = _mm256_xor_si256(x, all(0x80000000u));
    for (int k = 0; k < t.size; ++k) {
      const __m256i threshold = all(t.thresholds[k] ^ 0x80000000u);
      for (int j = 0; j < kWords; ++j) sum[j] = _mm256_add_epi32(sum[j], _mm256_cmpgt_epi32(threshold, c[j]));
    }
  }
  for (int j = 0; j < kWords; ++j) _mm256_storeu_si256(reinterpret_cast<__m256i*>(counts + j * kLanes), sum[j]);
}
#endif

// One threshold after the other, the same as in `table`, for the neurons of a block with a mean each: counts[i] grows by
// the number of thresholds that w[i] reaches. `first` is P(X = 0); where it is above 1 nothing is reached.
BRAINSIM_ALWAYS_INLINE void search(const uint32_t* w, const double* part, const double* first, int most, double* counts) {
  double p[kBlock], sum[kBlock], above[kBlock];
  for (int i = 0; i < kBlock; ++i) p[i] = sum[i] = first[i], above[i] = static_cast<double>(w[i]) + 1.0;
  for (int k = 0; k < most; ++k) {
    uint64_t any = 0;
    for (int i = 0; i < kBlock; ++i) {
      const double reached = sum[i] * kTwo32 + 0.5 < above[i] ? 1.0 : 0.0;  // fixed(sum) <= w, without conversions
      uint64_t bits;
      std::memcpy(&bits, &reached, sizeof(bits));
      any |= bits;
      counts[i] += reached;
      p[i] = p[i] * part[i] * kReciprocals.of[k];
      sum[i] += p[i];
    }
    if (any == 0) return;
  }
}

inline void portable_search(const Stream& s, uint32_t block, uint32_t draw, const double* part, const double* first,
                            int most, double* counts) {
  uint32_t w[kBlock];
  words(s, block, draw, w);
  search(w, part, first, most, counts);
}

#if BRAINSIM_WIDE
BRAINSIM_AVX2 inline void wide_search(const Stream& s, uint32_t block, uint32_t draw, const double* part,
                                      const double* first, int most, double* counts) {
  __m256i c[kWords];
  uint32_t w[kBlock];
  wide_words(s, block, draw, c);
  std::memcpy(w, c, sizeof(w));
  search(w, part, first, most, counts);
}
#endif

// The counts of neurons with large means, among the `n` of one block; `mean_of(i)` is that of neuron i.
template <typename T, typename MeanOf>
void large_counts(const Stream& s, uint32_t block, int64_t n, MeanOf mean_of, T* out) {
  uint32_t w[kBlock];
  words(s, block, 0, w);
  for (int64_t i = 0; i < n; ++i)
    if (is_large(mean_of(i))) out[i] = static_cast<T>(quantile(mean_of(i), w[i]));
}

using Search = void (*)(const Stream&, uint32_t, uint32_t, const double*, const double*, int, double*);

template <typename T, Search kSearch>
void block_of_many_means(const Stream& s, const T* means, uint32_t block, int64_t n, T* out) {
  constexpr double kNever = 2.0;
  double part[kBlock] = {0}, none[kBlock], first[kBlock], counts[kBlock] = {0};
  int64_t draws[kBlock] = {0}, most = 1;
  bool large = false;
  const bool poisson = s.process == Process::kPoisson;
  for (int64_t i = 0; i < n; ++i) {
    const double mean = static_cast<double>(means[i]);
    draws[i] = poisson ? split(mean) : mean >= 0.0;
    if (draws[i] > 0) part[i] = mean / static_cast<double>(draws[i]);
    most = std::max(most, draws[i]);
    large |= poisson && is_large(mean);
  }
  for (int i = 0; i < kBlock; ++i) none[i] = poisson ? exp_minus(part[i]) : 1.0 - part[i];
  for (int64_t draw = 0; draw < most; ++draw) {
    for (int i = 0; i < kBlock; ++i) first[i] = draw < draws[i] ? none[i] : kNever;
    kSearch(s, block, static_cast<uint32_t>(draw), part, first, poisson ? kMostThresholds : 1, counts);
  }
  for (int64_t i = 0; i < n; ++i) out[i] = draws[i] > 0 ? static_cast<T>(counts[i]) : static_cast<T>(NAN);
  if (large) large_counts(s, block, n, [&](int64_t i) { return static_cast<double>(means[i]); }, out);
}

template <typename T, void (*kBlockOfOneMean)(const Stream&, const Table&, uint32_t, int32_t*), Search kSearch>
void fill(const Stream& s, const T* means, int64_t n_means, int64_t n, T* out) {
  Table t = table(static_cast<double>(means[0]), s.process);
  T current = means[0];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t size = std::min<int64_t>(kBlock, n - start);
    const auto block = static_cast<uint32_t>(start / kBlock);
    T* to = out + start;
    if (n_means != 1) {
      const T* first = means + start;
      if (!std::all_of(first, first + size, [&](T m) { return m == first[0]; })) {
        block_of_many_means<T, kSearch>(s, first, block, size, to);
        continue;
      }
      if (first[0] != current) t = table(static_cast<double>(current = first[0]), s.process);
    }
    int32_t counts[kBlock];
    if (t.valid) kBlockOfOneMean(s, t, block, counts);
    for (int64_t i = 0; i < size; ++i) to[i] = t.valid ? static_cast<T>(counts[i]) : static_cast<T>(NAN);
    const double mean = static_cast<double>(current);
    if (s.process == Process::kPoisson && is_large(mean)) large_counts(s, block, size, [&](int64_t) { return mean; }, to);
  }
}

template <typename T>
void run(const Stream& s, const T* means, int64_t n_means, int64_t n, T* out) {
#if BRAINSIM_WIDE
  static const bool has_wide = __builtin_cpu_supports("avx2");
  if (has_wide) return fill<T, wide_block_of_one_mean, wide_search>(s, means, n_means, n, out);
#endif
  fill<T, block_of_one_mean, portable_search>(s, means, n_means, n, out);
}

}  // namespace brainsim

#endif  // BRAINSIM_POISSON_KERNELS_H_
