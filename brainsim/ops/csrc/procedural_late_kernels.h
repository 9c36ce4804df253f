// Loops over a sparse matrix whose synapses, each with a delay, are regenerated at each use; nothing here knows of XLA.
//
// Spikes are delivered when they leave: a synapse adds what it sends to the row of a ring whose turn comes after its delay.
// Delays are whole steps, `least` or more: they grow by `stride` for each entry of a table that a random word of the synapse
// reaches (it is the cumulative distribution, in 32 bits). So they are the same wherever they are computed.
// Whatever the table holds, no loop leaves its buffers.

#ifndef BRAINSIM_PROCEDURAL_LATE_KERNELS_H_
#define BRAINSIM_PROCEDURAL_LATE_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "late.h"
#include "procedural_kernels.h"

namespace brainsim {

constexpr int64_t kGuideBits = 8;

// Where in a ring, flat, synapses arrive.
struct Arrivals {
  const Late late;
  const int64_t n_post, first;    // the row of the ring for the least delay
  int32_t guide[1 << kGuideBits];  // how many entries the least word with these upper bits reaches

  Arrivals(const Late& late, int64_t k, int64_t n_post) : late(late), n_post(n_post), first(first_row(late, k)) {
    int32_t reached = 0;
    for (int64_t c = 0; c < (int64_t{1} << kGuideBits); ++c)
      guide[c] = reached = scan(reached, static_cast<uint32_t>(c << (32 - kGuideBits)));
  }

  // The number of entries that a word reaches, if it reaches `reached` of them.
  BRAINSIM_ALWAYS_INLINE int32_t scan(int32_t reached, uint32_t word) const {
    while (reached < late.table_size && late.table[reached] <= word) ++reached;
    return reached;
  }
};

// The places of `count` <= kPiece synapses of the row that have these targets, from `from`, a multiple of kPiece.
BRAINSIM_ALWAYS_INLINE void draw_places(const Arrivals& a, const Row& r, int64_t from, int64_t count,
                                        const int32_t* targets, int64_t* places) {
  uint32_t words[kPiece];
  const int64_t blocks = (count + 3) / 4;
  philox_blocks(r.pattern.seed, r.row, static_cast<uint32_t>(from / 4), kDelayStream, blocks, words);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t word = words[(i & 3) * blocks + i / 4];
    const int32_t reached = a.scan(a.guide[word >> (32 - kGuideBits)], word);
    places[i] = row_of_ring(a.late, a.first, reached) * a.n_post + targets[i];
  }
}

// ring[b, (k + delay) mod rows, post] += sent[b, pre, 0] + noise * sent[b, pre, 1] for all synapses of rows that send.
template <typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void procedural_send(const Pattern& p, Noise noise, const Late& late, int64_t k, int64_t batch,
                                            const T* BRAINSIM_RESTRICT sent, T* BRAINSIM_RESTRICT ring) {
  constexpr int64_t kC = kNoisy ? 2 : 1;
  if (p.n_post == 0 || late.rows == 0) return;
  Generator<T> generator(p, noise);
  const Arrivals arrivals(late, k, p.n_post);
  int64_t places[kPiece];
  for (int64_t start = 0; start < p.n_pre; start += kBlock) {
    const int64_t size = std::min(kBlock, p.n_pre - start);
    decltype(magnitude_bits(T{})) used[kBlock] = {0};
    for (int64_t b = 0; b < batch; ++b) {
      const T* x = sent + (b * p.n_pre + start) * kC;
      if (size == kBlock && all_zero<kBlock * kC>(x)) continue;
      for (int64_t j = 0; j < size * kC; ++j) used[j / kC] |= magnitude_bits(x[j]);
    }
    for (int64_t row = start; row < start + size; ++row) {
      if (used[row - start] == 0) continue;
      const int64_t degree = generator.begin(row);
      for (int64_t from = 0; from < degree; from += kPiece) {
        const int64_t count = std::min(kPiece, degree - from);
        generator.generate(from, count);
        generator.arrive(arrivals, from, count, places);
        for (int64_t b = 0; b < batch; ++b) {
          const T* x = sent + (b * p.n_pre + row) * kC;
          if (magnitude_bits(x[0]) == 0 && magnitude_bits(x[kC - 1]) == 0) continue;
          T* y = ring + b * late.rows * p.n_post;
          for (int64_t i = 0; i < count; ++i)
            y[places[i]] += kC == 2 ? x[0] + generator.noise[i] * x[kC - 1] : x[0];
        }
      }
    }
  }
}

// found[b, pre] = sum over the row's synapses of ring[b, (k + delay) mod rows, post], and the same times noise: the transpose.
template <typename T, bool kNoisy>
BRAINSIM_ALWAYS_INLINE void procedural_collect(const Pattern& p, Noise noise, const Late& late, int64_t k, int64_t batch,
                                               const T* BRAINSIM_RESTRICT ring, T* BRAINSIM_RESTRICT found) {
  constexpr int64_t kC = kNoisy ? 2 : 1;
  std::fill(found, found + batch * p.n_pre * kC, T{0});
  if (p.n_post == 0 || late.rows == 0) return;
  Generator<T> generator(p, noise);
  const Arrivals arrivals(late, k, p.n_post);
  int64_t places[kPiece];
  for (int64_t row = 0; row < p.n_pre; ++row) {
    const int64_t degree = generator.begin(row);
    for (int64_t from = 0; from < degree; from += kPiece) {
      const int64_t count = std::min(kPiece, degree - from);
      generator.generate(from, count);
      generator.arrive(arrivals, from, count, places);
      for (int64_t b = 0; b < batch; ++b) {
        const T* x = ring + b * late.rows * p.n_post;
        T sum[2] = {0, 0};
        for (int64_t i = 0; i < count; ++i) {
          const T value = x[places[i]];
          sum[0] += value;
          if (kC == 2) sum[1] += generator.noise[i] * value;
        }
        for (int64_t c = 0; c < kC; ++c) found[(b * p.n_pre + row) * kC + c] += sum[c];
      }
    }
  }
}

}  // namespace brainsim

#endif  // BRAINSIM_PROCEDURAL_LATE_KERNELS_H_
