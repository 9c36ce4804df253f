// Loops over a sparse matrix whose synapses are regenerated at each use; nothing here knows of XLA.
//
// Every number is a function of (seed, row, position), by the counter-based generator Philox 4x32-10 of Salmon et al. 2011,
// doi:10.1145/2063384.2063405, in integer arithmetic, so that plain JAX (ops/_procedural_plain.py) finds the same synapses:
//   targets  different ones, as the first elements of a random permutation of [0, domain): an alternating Feistel network
//            on the bits of the index, repeated until the result lies in the domain (Black & Rogaway 2002,
//            doi:10.1007/3-540-45760-7_9), with keys drawn for each row; or independent ones;
//   degrees  the same in all rows, or by inversion of a table, or from a table of row offsets (then the permutation is
//            one of all synapses, `fan_in` to each target);
//   noise    one number per synapse: uniform in [0, 1), or normal, by inversion.
// Whatever the tables hold, no loop leaves its buffers, and each ends.

#ifndef BRAINSIM_PROCEDURAL_KERNELS_H_
#define BRAINSIM_PROCEDURAL_KERNELS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "csr_kernels.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define BRAINSIM_WIDE 1
#define BRAINSIM_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define BRAINSIM_WIDE 0
#define BRAINSIM_ALWAYS_INLINE inline
#endif
#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_UNROLL _Pragma("GCC unroll 10")
#else
#define BRAINSIM_UNROLL
#endif

namespace brainsim {

enum class Partners : int64_t { kDifferent = 0, kIndependent = 1, kOfAll = 2 };
enum class Noise : int64_t { kNone = 0, kUniform = 1, kNormal = 2 };

struct Pattern {
  Partners partners;
  int64_t n_pre, n_post;
  int64_t domain;   // what the permutation permutes: possible targets, or (kOfAll) synapses
  int64_t degree;   // of every row; of a table, the least
  int64_t fan_in;   // kOfAll: synapses per target
  bool skip;        // row i has no synapse onto target i
  uint32_t seed[2];
  const uint32_t* table;  // none: every row has `degree`
  int64_t table_size;
};

// What is wrong with a pattern, or null: targets are below n_post by construction only if nothing is.
inline const char* fault(const Pattern& p) {
  constexpr int64_t kMost = INT32_MAX;
  for (const int64_t size : {p.n_pre, p.n_post, p.domain, p.degree, p.fan_in})
    if (size < 0 || size > kMost) return "sizes must fit in 32 bits";
  if (p.partners < Partners::kDifferent || p.partners > Partners::kOfAll) return "unknown pattern";
  if (p.partners != Partners::kOfAll) return p.domain + p.skip > p.n_post ? "the domain exceeds the targets" : nullptr;
  if (p.table_size != p.n_pre + 1) return "the table must have n_pre + 1 entries";
  return p.fan_in < 1 || p.domain > p.fan_in * p.n_post || p.skip ? "the synapses do not fit the targets" : nullptr;
}

constexpr int64_t kPiece = 256;        // synapses regenerated at a time
constexpr int64_t kKeys = 24;          // rounds of the permutation of a small domain,
constexpr int64_t kRounds = 12;        // and of a large one, which mixes faster
constexpr int64_t kSmallBits = 6;
enum Stream : uint32_t { kKeyStream = 0, kDegreeStream = 1, kTargetStream = 2, kNoiseStream = 3 };

struct Block {
  uint32_t word[4];
};

BRAINSIM_ALWAYS_INLINE Block philox(const uint32_t* seed, uint32_t row, uint32_t block, uint32_t stream) {
  uint32_t c0 = row, c1 = stream, c2 = block, c3 = 0, k0 = seed[0], k1 = seed[1];
  BRAINSIM_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// The blocks first, first + 1, ... of a row: `words` holds the first word of each, then the second of each, and so on.
BRAINSIM_ALWAYS_INLINE void philox_blocks(const uint32_t* seed, uint32_t row, uint32_t first, uint32_t stream,
                                          int64_t count, uint32_t* BRAINSIM_RESTRICT words) {
  for (int64_t i = 0; i < count; ++i) {
    const Block block = philox(seed, row, first + static_cast<uint32_t>(i), stream);
    words[i] = block.word[0];
    words[count + i] = block.word[1];
    words[2 * count + i] = block.word[2];
    words[3 * count + i] = block.word[3];
  }
}

BRAINSIM_ALWAYS_INLINE uint32_t hashed(uint32_t x, uint32_t key) {
  x = (x ^ key) * 0xD2511F53u;
  x = (x ^ (x >> 15)) * 0xCD9E8D57u;
  return x >> 16;
}

// A permutation of the numbers below 2^bits: an alternating Feistel network, on their upper and lower bits.
struct Permutation {
  uint32_t low_bits, low, high;  // number of lower bits; masks of lower and upper bits
  int64_t rounds;
  uint32_t domain;
  uint32_t keys[kKeys];

  explicit Permutation(int64_t size) : domain(static_cast<uint32_t>(size)) {
    uint32_t bits = 1;
    while (bits < 32 && (uint64_t{1} << bits) < static_cast<uint64_t>(size)) ++bits;
    low_bits = bits - bits / 2;
    low = (1u << low_bits) - 1;
    high = (1u << (bits / 2)) - 1;
    rounds = bits <= kSmallBits ? kKeys : kRounds;
  }

  BRAINSIM_ALWAYS_INLINE void draw(const uint32_t* seed, uint32_t row) {
    for (int64_t i = 0; i < rounds; i += 4) {
      const Block block = philox(seed, row, static_cast<uint32_t>(i / 4), kKeyStream);
      for (int64_t k = 0; k < 4; ++k) keys[i + k] = block.word[k];
    }
  }

  // Each of `count` values, which must be below `domain`, becomes its image, also below `domain`.
  BRAINSIM_ALWAYS_INLINE void apply(int64_t count, uint32_t* BRAINSIM_RESTRICT values) const {
    once(count, values);
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, values[i]);
    if (largest < domain) return;
    int32_t position[kPiece];
    uint32_t outside[kPiece];
    int64_t left = 0;
    for (int64_t i = 0; i < count; ++i) {
      position[left] = static_cast<int32_t>(i);
      outside[left] = values[i];
      left += values[i] >= domain;
    }
    while (left > 0) {
      once(left, outside);
      int64_t still = 0;
      for (int64_t i = 0; i < left; ++i) {
        const uint32_t value = outside[i];
        const int32_t at = position[i];
        values[at] = value;
        position[still] = at;
        outside[still] = value;
        still += value >= domain;
      }
      left = still;
    }
  }

 private:
  BRAINSIM_ALWAYS_INLINE void once(int64_t count, uint32_t* BRAINSIM_RESTRICT values) const {
    if (rounds == kKeys) {
      for (int64_t i = 0; i < count; ++i) values[i] = image<kKeys>(values[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) values[i] = image<kRounds>(values[i]);
    }
  }

  template <int64_t kCount>
  BRAINSIM_ALWAYS_INLINE uint32_t image(uint32_t value) const {
    uint32_t upper = value >> low_bits, lower = value & low;
    BRAINSIM_UNROLL
    for (int64_t t = 0; t < kCount / 2; ++t) {
      lower ^= hashed(upper, keys[2 * t]) & low;
      upper ^= hashed(lower, keys[2 * t + 1]) & high;
    }
    return upper << low_bits | lower;
  }
};

// Normal numbers from random words, to seven digits: the quantiles at (word + 1/2) / 2^32, as quotients of polynomials of
// Wichura 1988, doi:10.2307/2347330 (AS 241, PPND7). First all words as if in the middle, then the tails, 15 in a hundred.
template <typename T>
BRAINSIM_ALWAYS_INLINE void normal(int64_t count, const uint32_t* BRAINSIM_RESTRICT words, T* BRAINSIM_RESTRICT values) {
  constexpr uint32_t kTail = 322122547;  // 0.075 * 2^32: words below, or as near to the other end, are in the tails
  const auto c = [](double x) { return static_cast<T>(x); };
  uint16_t tail[kPiece];
  int64_t tails = 0;
  for (int64_t j = 0; j < count; ++j) {
    const T q = (static_cast<T>(static_cast<int32_t>(words[j] ^ 0x80000000u)) + c(0.5)) * c(0x1p-32);
    const T r = c(0.180625) - q * q;
    values[j] = q * (((c(59.10937472) * r + c(159.29113202)) * r + c(50.434271938)) * r + c(3.3871327179)) /
                (((c(67.1875636) * r + c(78.757757664)) * r + c(17.895169469)) * r + c(1));
  }
  for (int64_t j = 0; j < count; ++j) {
    tail[tails] = static_cast<uint16_t>(j);
    tails += std::min(words[j], ~words[j]) < kTail;
  }
  for (int64_t j = 0; j < tails; ++j) {
    const uint32_t word = words[tail[j]], end = std::min(word, ~word);
    const T r = std::sqrt(-std::log((static_cast<T>(end) + c(0.5)) * c(0x1p-32))) - c(1.6);
    const T z = (((c(0.17023821103) * r + c(1.3067284816)) * r + c(2.75681539)) * r + c(1.4234372777)) /
                ((c(0.12021132975) * r + c(0.7370016425)) * r + c(1));
    values[tail[j]] = end == word ? -z : z;
  }
}

// The synapses of one row after another.
template <typename T, Noise kNoise>
class Generator {
 public:
  int32_t targets[kPiece];
  T noise[kPiece];

  explicit Generator(const Pattern& pattern) : p_(pattern), permutation_(pattern.domain) {
    if (p_.partners == Partners::kOfAll) permutation_.draw(p_.seed, 0xFFFFFFFFu);
  }

  // Begins a row: returns the number of its synapses.
  BRAINSIM_ALWAYS_INLINE int64_t begin(int64_t row) {
    row_ = static_cast<uint32_t>(row);
    first_ = 0;
    if (p_.partners == Partners::kOfAll) {
      first_ = std::min<int64_t>(p_.table[row], p_.domain);
      return std::max<int64_t>(first_, std::min<int64_t>(p_.table[row + 1], p_.domain)) - first_;
    }
    int64_t degree = p_.degree;
    if (p_.table_size > 0) {
      const uint32_t draw = philox(p_.seed, row_, 0, kDegreeStream).word[0];
      degree += std::upper_bound(p_.table, p_.table + p_.table_size, draw) - p_.table;
    }
    if (p_.partners == Partners::kIndependent) return p_.domain > 0 ? degree : 0;
    degree = std::min(degree, p_.domain);
    if (degree > 0) permutation_.draw(p_.seed, row_);
    return degree;
  }

  // Fills `targets` and `noise` with those of `count` <= kPiece synapses of the row, from `from`, a multiple of kPiece.
  BRAINSIM_ALWAYS_INLINE void generate(int64_t from, int64_t count) {
    uint32_t values[kPiece];
    if (p_.partners == Partners::kIndependent) {
      // The upper part of the product of 64 random bits with the number of targets.
      uint32_t words[2 * kPiece];
      const int64_t blocks = (count + 1) / 2;
      philox_blocks(p_.seed, row_, static_cast<uint32_t>(from / 2), kTargetStream, blocks, words);
      const uint64_t n = static_cast<uint64_t>(p_.domain);
      for (int64_t i = 0; i < count; ++i) {
        const uint32_t* word = words + (i & 1) * 2 * blocks + i / 2;
        values[i] = static_cast<uint32_t>((word[0] * n + (word[blocks] * n >> 32)) >> 32);
      }
    } else {
      const uint32_t first = static_cast<uint32_t>(first_ + from);
      for (int64_t i = 0; i < count; ++i) values[i] = first + static_cast<uint32_t>(i);
      permutation_.apply(count, values);
    }
    if (p_.partners == Partners::kOfAll) {
      const uint32_t fan_in = static_cast<uint32_t>(p_.fan_in);
      for (int64_t i = 0; i < count; ++i) values[i] /= fan_in;
    }
    const uint32_t hole = p_.skip ? row_ : 0xFFFFFFFFu;
    for (int64_t i = 0; i < count; ++i) targets[i] = static_cast<int32_t>(values[i] + (values[i] >= hole));
    if (kNoise != Noise::kNone) draw_noise(from, count);
  }

 private:
  BRAINSIM_ALWAYS_INLINE void draw_noise(int64_t from, int64_t count) {
    uint32_t words[kPiece];
    const int64_t blocks = (count + 3) / 4;
    philox_blocks(p_.seed, row_, static_cast<uint32_t>(from / 4), kNoiseStream, blocks, words);
    T values[kPiece];  // in the order of the words
    if (kNoise == Noise::kNormal) normal(4 * blocks, words, values);
    for (int64_t j = 0; kNoise == Noise::kUniform && j < 4 * blocks; ++j)
      values[j] = sizeof(T) == 4 ? static_cast<T>(words[j] >> 8) * static_cast<T>(0x1p-24)
                                 : static_cast<T>(words[j]) * static_cast<T>(0x1p-32);
    for (int64_t i = 0; i < blocks; ++i)
      for (int64_t k = 0; k < 4; ++k) noise[4 * i + k] = values[k * blocks + i];
  }

  const Pattern p_;
  Permutation permutation_;
  uint32_t row_ = 0;
  int64_t first_ = 0;
};

// Channels of a result or an argument: the sum alone, or the sum and the sum weighted by noise.
template <Noise kNoise>
constexpr int64_t kChannels = kNoise == Noise::kNone ? 1 : 2;

// out[b, post] = sum of spikes[b, pre] over the synapses, and the same times noise. Rows that no b uses are not regenerated.
template <typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void procedural_scatter(const Pattern& p, int64_t batch, const T* BRAINSIM_RESTRICT spikes,
                                               T* BRAINSIM_RESTRICT out) {
  constexpr int64_t kC = kChannels<kNoise>;
  std::fill(out, out + batch * p.n_post * kC, T{0});
  if (p.n_post == 0) return;
  Generator<T, kNoise> generator(p);
  for (int64_t start = 0; start < p.n_pre; start += kBlock) {
    const int64_t size = std::min(kBlock, p.n_pre - start);
    decltype(magnitude_bits(T{})) used[kBlock] = {0};
    for (int64_t b = 0; b < batch; ++b) {
      const T* x = spikes + b * p.n_pre + start;
      if (size == kBlock && all_zero<kBlock>(x)) continue;
      for (int64_t k = 0; k < size; ++k) used[k] |= magnitude_bits(x[k]);
    }
    for (int64_t k = 0; k < size; ++k) {
      if (used[k] == 0) continue;
      const int64_t degree = generator.begin(start + k);
      for (int64_t from = 0; from < degree; from += kPiece) {
        const int64_t count = std::min(kPiece, degree - from);
        generator.generate(from, count);
        for (int64_t b = 0; b < batch; ++b) {
          const T spike = spikes[b * p.n_pre + start + k];
          if (magnitude_bits(spike) == 0) continue;
          T* y = out + b * p.n_post * kC;
          for (int64_t i = 0; i < count; ++i) {
            T* at = y + kC * generator.targets[i];
            at[0] += spike;
            if (kC == 2) at[kC - 1] += generator.noise[i] * spike;
          }
        }
      }
    }
  }
}

// out[b, pre] = sum over the row's synapses of values[b, post, 0] + noise * values[b, post, 1]: the transpose.
template <typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void procedural_gather(const Pattern& p, int64_t batch, const T* BRAINSIM_RESTRICT values,
                                              T* BRAINSIM_RESTRICT out) {
  constexpr int64_t kC = kChannels<kNoise>;
  std::fill(out, out + batch * p.n_pre, T{0});
  if (p.n_post == 0) return;
  Generator<T, kNoise> generator(p);
  for (int64_t row = 0; row < p.n_pre; ++row) {
    const int64_t degree = generator.begin(row);
    for (int64_t from = 0; from < degree; from += kPiece) {
      const int64_t count = std::min(kPiece, degree - from);
      generator.generate(from, count);
      for (int64_t b = 0; b < batch; ++b) {
        const T* x = values + b * p.n_post * kC;
        T sum[2] = {0, 0};
        for (int64_t i = 0; i < count; ++i) {
          const T* at = x + kC * generator.targets[i];
          sum[i & 1] += kC == 2 ? at[0] + generator.noise[i] * at[kC - 1] : at[0];
        }
        out[b * p.n_pre + row] += sum[0] + sum[1];
      }
    }
  }
}

}  // namespace brainsim

#endif  // BRAINSIM_PROCEDURAL_KERNELS_H_
