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
#include <cstdint>

#include "csr_kernels.h"
#include "procedural_synapses.h"

namespace brainsim {

constexpr int64_t kPiece = 256;  // synapses regenerated at a time

// The blocks first, first + 1, ... of a row: `words` holds the first word of each, then the second of each, and so on.
BRAINSIM_ALWAYS_INLINE void philox_blocks(const uint32_t* seed, uint32_t row, uint32_t first, uint32_t stream,
                                          int64_t count, uint32_t* BRAINSIM_RESTRICT words) {
  for (int64_t i = 0; i < count; ++i) {
    const Words block = philox_of(seed, row, first + static_cast<uint32_t>(i), stream);
    words[i] = block.word[0];
    words[count + i] = block.word[1];
    words[2 * count + i] = block.word[2];
    words[3 * count + i] = block.word[3];
  }
}

BRAINSIM_ALWAYS_INLINE void once(const Permutation& permutation, int64_t count, uint32_t* BRAINSIM_RESTRICT values) {
  if (permutation.rounds == kKeys) {
    for (int64_t i = 0; i < count; ++i) values[i] = permutation.image<kKeys>(values[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) values[i] = permutation.image<kRounds>(values[i]);
  }
}

// Each of `count` values, which must be below the domain, becomes its image: `Permutation::of`, in vectors.
BRAINSIM_ALWAYS_INLINE void apply(const Permutation& permutation, int64_t count, uint32_t* BRAINSIM_RESTRICT values) {
  once(permutation, count, values);
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, values[i]);
  if (largest < permutation.domain) return;
  int32_t position[kPiece];
  uint32_t outside[kPiece];
  int64_t left = 0;
  for (int64_t i = 0; i < count; ++i) {
    position[left] = static_cast<int32_t>(i);
    outside[left] = values[i];
    left += values[i] >= permutation.domain;
  }
  while (left > 0) {
    once(permutation, left, outside);
    int64_t still = 0;
    for (int64_t i = 0; i < left; ++i) {
      const uint32_t value = outside[i];
      const int32_t at = position[i];
      values[at] = value;
      position[still] = at;
      outside[still] = value;
      still += value >= permutation.domain;
    }
    left = still;
  }
}

// Normal numbers from random words: first all as if in the middle, then the tails, 15 in a hundred.
template <typename T>
BRAINSIM_ALWAYS_INLINE void normal(int64_t count, const uint32_t* BRAINSIM_RESTRICT words, T* BRAINSIM_RESTRICT values) {
  uint16_t tail[kPiece];
  int64_t tails = 0;
  for (int64_t j = 0; j < count; ++j) values[j] = normal_in_the_middle<T>(words[j]);
  for (int64_t j = 0; j < count; ++j) {
    tail[tails] = static_cast<uint16_t>(j);
    tails += in_a_tail(words[j]);
  }
  for (int64_t j = 0; j < tails; ++j) values[tail[j]] = normal_in_a_tail<T>(words[tail[j]]);
}

// A row of a pattern, and what its targets come from.
struct Row {
  const Pattern pattern;
  Permutation permutation;
  uint32_t row = 0;
  int64_t first = 0;

  explicit Row(const Pattern& p) : pattern(p), permutation(p.domain) {
    if (p.partners == Partners::kOfAll) permutation.draw(p.seed, 0xFFFFFFFFu);
  }
};

// Goes to a row: returns the number of its synapses.
BRAINSIM_ALWAYS_INLINE int64_t go_to(Row& r, int64_t row) {
  r.row = static_cast<uint32_t>(row);
  const Span span = span_of(r.pattern, row);
  r.first = span.first;
  if (r.pattern.partners == Partners::kDifferent && span.degree > 0) r.permutation.draw(r.pattern.seed, r.row);
  return span.degree;
}

// The targets of `count` <= kPiece synapses of the row, from `from`, a multiple of kPiece.
BRAINSIM_ALWAYS_INLINE void draw_targets(const Row& r, int64_t from, int64_t count, int32_t* BRAINSIM_RESTRICT targets) {
  const Pattern& p = r.pattern;
  uint32_t values[kPiece];
  if (p.partners == Partners::kIndependent) {
    // The upper part of the product of 64 random bits with the number of targets.
    uint32_t words[2 * kPiece];
    const int64_t blocks = (count + 1) / 2;
    philox_blocks(p.seed, r.row, static_cast<uint32_t>(from / 2), kTargetStream, blocks, words);
    const uint64_t n = static_cast<uint64_t>(p.domain);
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t* word = words + (i & 1) * 2 * blocks + i / 2;
      values[i] = scaled(word[0], word[blocks], n);
    }
  } else {
    const uint32_t first = static_cast<uint32_t>(r.first + from);
    for (int64_t i = 0; i < count; ++i) values[i] = first + static_cast<uint32_t>(i);
    apply(r.permutation, count, values);
  }
  if (p.partners == Partners::kOfAll) {
    const uint32_t fan_in = static_cast<uint32_t>(p.fan_in);
    for (int64_t i = 0; i < count; ++i) values[i] /= fan_in;
  }
  const uint32_t hole = p.skip ? r.row : 0xFFFFFFFFu;
  for (int64_t i = 0; i < count; ++i) targets[i] = static_cast<int32_t>(values[i] + (values[i] >= hole));
}

// The noise of these synapses; of up to three more, which are not there.
template <typename T, Noise kNoise>
BRAINSIM_ALWAYS_INLINE void draw_noise(const Row& r, int64_t from, int64_t count, T* BRAINSIM_RESTRICT noise) {
  uint32_t words[kPiece];
  const int64_t blocks = (count + 3) / 4;
  philox_blocks(r.pattern.seed, r.row, static_cast<uint32_t>(from / 4), kNoiseStream, blocks, words);
  T values[kPiece];  // in the order of the words
  if (kNoise == Noise::kNormal) normal(4 * blocks, words, values);
  for (int64_t j = 0; kNoise == Noise::kUniform && j < 4 * blocks; ++j) values[j] = uniform<T>(words[j]);
  for (int64_t i = 0; i < blocks; ++i)
    for (int64_t k = 0; k < 4; ++k) noise[4 * i + k] = values[k * blocks + i];
}

// The functions above, in the widest instructions that this processor has: procedural_pieces.cc.
struct Arrivals;
template <typename T>
struct Pieces {
  int64_t (*go_to)(Row& r, int64_t row);
  void (*targets)(const Row& r, int64_t from, int64_t count, int32_t* targets);
  void (*noise)(const Row& r, int64_t from, int64_t count, T* noise);
  void (*places)(const Arrivals& a, const Row& r, int64_t from, int64_t count, const int32_t* targets, int64_t* places);
};
template <typename T>
Pieces<T> pieces(Noise noise);

// Whether the processor has the widest instructions, among them those that multiply and add at once.
bool has_widest();
#if BRAINSIM_WIDE
#define BRAINSIM_WIDEST __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl")))
#endif

// The synapses of one row after another.
template <typename T>
class Generator {
 public:
  int32_t targets[kPiece];
  T noise[kPiece];  // if the synapses have any

  Generator(const Pattern& pattern, Noise noise) : pieces_(pieces<T>(noise)), row_(pattern) {}

  // Begins a row: returns the number of its synapses.
  int64_t begin(int64_t row) { return pieces_.go_to(row_, row); }

  // Fills `targets` and `noise` with those of `count` <= kPiece synapses of the row, from `from`, a multiple of kPiece.
  void generate(int64_t from, int64_t count) {
    pieces_.targets(row_, from, count, targets);
    if (pieces_.noise != nullptr) pieces_.noise(row_, from, count, noise);
  }

  // Fills `places` with where those synapses arrive.
  void arrive(const Arrivals& arrivals, int64_t from, int64_t count, int64_t* places) const {
    pieces_.places(arrivals, row_, from, count, targets, places);
  }

 private:
  const Pieces<T> pieces_;
  Row row_;
};

// out[b, post] = sum of spikes[b, pre] over the synapses, and the same times noise. Rows that no b uses are not regenerated.
template <typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void procedural_scatter(const Pattern& p, Noise noise, int64_t batch,
                                               const T* BRAINSIM_RESTRICT spikes, T* BRAINSIM_RESTRICT out) {
  constexpr int64_t kC = kNoisy ? 2 : 1;
  std::fill(out, out + batch * p.n_post * kC, T{0});
  if (p.n_post == 0) return;
  Generator<T> generator(p, noise);
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
template <typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void procedural_gather(const Pattern& p, Noise noise, int64_t batch,
                                              const T* BRAINSIM_RESTRICT values, T* BRAINSIM_RESTRICT out) {
  constexpr int64_t kC = kNoisy ? 2 : 1;
  std::fill(out, out + batch * p.n_pre, T{0});
  if (p.n_post == 0) return;
  Generator<T> generator(p, noise);
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
