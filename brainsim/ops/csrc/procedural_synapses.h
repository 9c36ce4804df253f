// Synapses that are functions of (seed, row, position): what procedural_kernels.h describes, for one synapse. Nothing here
// knows of XLA.

#ifndef BRAINSIM_PROCEDURAL_SYNAPSES_H_
#define BRAINSIM_PROCEDURAL_SYNAPSES_H_

#include <cstdint>

#include "normal.h"
#include "philox.h"

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

constexpr int64_t kKeys = 24;          // rounds of the permutation of a small domain,
constexpr int64_t kRounds = 12;        // and of a large one, which mixes faster
constexpr int64_t kSmallBits = 6;
enum Purpose : uint32_t { kKeyStream = 0, kDegreeStream = 1, kTargetStream = 2, kNoiseStream = 3, kDelayStream = 4 };

BRAINSIM_HD BRAINSIM_ALWAYS_INLINE Words philox_of(const uint32_t* seed, uint32_t row, uint32_t block, uint32_t stream) {
  return philox(row, stream, block, 0, seed[0], seed[1]);
}

BRAINSIM_HD BRAINSIM_ALWAYS_INLINE uint32_t hashed(uint32_t x, uint32_t key) {
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

  BRAINSIM_HD explicit Permutation(int64_t size) : domain(static_cast<uint32_t>(size)) {
    uint32_t bits = 1;
    while (bits < 32 && (uint64_t{1} << bits) < static_cast<uint64_t>(size)) ++bits;
    low_bits = bits - bits / 2;
    low = (1u << low_bits) - 1;
    high = (1u << (bits / 2)) - 1;
    rounds = bits <= kSmallBits ? kKeys : kRounds;
  }

  BRAINSIM_HD BRAINSIM_ALWAYS_INLINE void draw(const uint32_t* seed, uint32_t row) {
    for (int64_t i = 0; i < rounds; i += 4) {
      const Words block = philox_of(seed, row, static_cast<uint32_t>(i / 4), kKeyStream);
      for (int64_t k = 0; k < 4; ++k) keys[i + k] = block.word[k];
    }
  }

  // The image of a value below `domain`, also below `domain`: an image outside of it is mapped once more.
  BRAINSIM_HD uint32_t of(uint32_t value) const {
    do {
      value = rounds == kKeys ? image<kKeys>(value) : image<kRounds>(value);
    } while (value >= domain);
    return value;
  }

  template <int64_t kCount>
  BRAINSIM_HD BRAINSIM_ALWAYS_INLINE uint32_t image(uint32_t value) const {
    uint32_t upper = value >> low_bits, lower = value & low;
    BRAINSIM_UNROLL
    for (int64_t t = 0; t < kCount / 2; ++t) {
      lower ^= hashed(upper, keys[2 * t]) & low;
      upper ^= hashed(lower, keys[2 * t + 1]) & high;
    }
    return upper << low_bits | lower;
  }
};

// The number of entries of a table, which ascends, up to a random word: it is a cumulative distribution, in 32 bits.
BRAINSIM_HD inline int64_t reached(const uint32_t* table, int64_t size, uint32_t word) {
  int64_t low = 0, high = size;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const bool there = table[middle] <= word;
    low = there ? middle + 1 : low;
    high = there ? high : middle;
  }
  return low;
}

// The synapses of a row: the position of the first in the permutation of all (kOfAll), and their number.
struct Span {
  int64_t first, degree;
};

BRAINSIM_HD inline Span span_of(const Pattern& p, int64_t row) {
  if (p.partners == Partners::kOfAll) {
    const int64_t first = p.table[row] < p.domain ? p.table[row] : p.domain;
    const int64_t end = p.table[row + 1] < p.domain ? p.table[row + 1] : p.domain;
    return {first, end > first ? end - first : 0};
  }
  int64_t degree = p.degree;
  if (p.table_size > 0)
    degree += reached(p.table, p.table_size, philox_of(p.seed, static_cast<uint32_t>(row), 0, kDegreeStream).word[0]);
  if (p.partners == Partners::kIndependent) return {0, p.domain > 0 ? degree : 0};
  return {0, degree < p.domain ? degree : p.domain};
}

// The upper part of the product of 64 random bits with n.
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE uint32_t scaled(uint32_t upper, uint32_t lower, uint64_t n) {
  return static_cast<uint32_t>((upper * n + (lower * n >> 32)) >> 32);
}

template <typename T>
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE T uniform(uint32_t word) {
  return sizeof(T) == 4 ? static_cast<T>(word >> 8) * static_cast<T>(0x1p-24)
                        : static_cast<T>(word) * static_cast<T>(0x1p-32);
}

// Channels of a result or an argument: the sum alone, or the sum and the sum weighted by noise.
template <Noise kNoise>
constexpr int64_t kChannels = kNoise == Noise::kNone ? 1 : 2;

}  // namespace brainsim

#endif  // BRAINSIM_PROCEDURAL_SYNAPSES_H_
