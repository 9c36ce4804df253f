// Loops over a sparse matrix whose synapses have delays, delivered at arrival; nothing here knows of XLA.
//
// See delayed.h. Whatever the index arrays hold, no loop leaves its buffers.

#ifndef BRAINSIM_ARRIVALS_KERNELS_H_
#define BRAINSIM_ARRIVALS_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "csr_kernels.h"
#include "delayed.h"
#include "part.h"

namespace brainsim {

template <typename T>
struct Segment {
  const int32_t* pointer;
  T value;
  int32_t begin, end;
};

constexpr int64_t kSegments = 256;      // collected at a time, on the stack
constexpr int64_t kDataAhead = 8;       // from the segment delivered to the one whose synapses are fetched,
constexpr int64_t kPointersAhead = 24;  // and to the one whose bounds are fetched

// Calls `found(pre)` for every neuron whose value in `row` is not zero, ascending.
template <typename T, typename Found>
inline void search(const T* row, int64_t n, Found found) {
  int64_t i = 0;
  for (i = skip_zeros(row, i, n); i + kBlock <= n; i = skip_zeros(row, i + kBlock, n)) {
    for (int64_t part = i; part < i + kBlock; part += kPart) {
      if (all_zero<kPart>(row + part)) continue;
      for (int64_t j = part; j < part + kPart; ++j)
        if (magnitude_bits(row[j]) != 0) found(j);
    }
  }
  for (; i < n; ++i)
    if (magnitude_bits(row[i]) != 0) found(i);
}

// Calls `found(pre, value)` for every spike of a row of the ring.
template <typename T, typename Found>
inline void spikes_of(const T* row, const int32_t* hints, const Delayed& m, Found found) {
  const int64_t count = m.hint_size > 0 ? hints[0] : -1;
  if (count < 0 || count >= m.hint_size) return search(row, m.n_pre, [&](int64_t pre) { found(pre, row[pre]); });
  for (int64_t i = 1; i <= count; ++i) {
    const int64_t pre = hints[i];
    if (pre >= 0 && pre < m.n_pre && magnitude_bits(row[pre]) != 0) found(pre, row[pre]);
  }
}

// The list of hints of a row: [size], a count, and the neurons if they fit.
template <typename T>
void compact(const T* row, int64_t n, int64_t size, int32_t* hints) {
  if (size == 0) return;
  int64_t count = 0;
  search(row, n, [&](int64_t pre) {
    if (++count < size) hints[count] = static_cast<int32_t>(pre);
  });
  for (int64_t i = count + 1; i < size; ++i) hints[i] = 0;
  hints[0] = static_cast<int32_t>(count);
}

template <typename T, bool kWeighted>
inline void add_segment(const int32_t* BRAINSIM_RESTRICT indices, int32_t begin, int32_t end, T value, Part part,
                        const T* BRAINSIM_RESTRICT weights, T* BRAINSIM_RESTRICT out) {
  const uint32_t first = static_cast<uint32_t>(part.first), size = static_cast<uint32_t>(part.size);
  T* BRAINSIM_RESTRICT mine = out + part.first;
  const auto add = [&](uint32_t post, int64_t j) {
    const uint32_t at = post - first;
    if (at < size) mine[at] += kWeighted ? weights[j] * value : value;
  };
  for_synapses(indices, begin, end, add);
}

// out[post] += sum over slots and spikes of value * weight, for the neurons of `part`.
template <typename T, bool kWeighted>
void arrivals(const Delayed& m, int64_t k, const T* BRAINSIM_RESTRICT history, const int32_t* hints,
              const T* BRAINSIM_RESTRICT weights, Part part, T* BRAINSIM_RESTRICT out) {
  Segment<T> segments[kSegments];
  int64_t n = 0;
  const bool whole = part.first == 0 && part.size == m.n_post;
  double lower = 0.5, upper = 0.5;  // where in a segment this part began and ended, lately

  const auto fetch = [&](Segment<T>& s) {
    s.begin = m.bound(s.pointer[0], 0);
    s.end = m.bound(s.pointer[1], s.begin);
    int32_t begin = s.begin, size = s.end - s.begin;
    if (!whole) {  // and half a cache line on both sides, for the search
      const int32_t before = std::max(0, static_cast<int32_t>(lower * size) - 8);
      size = std::min(size, static_cast<int32_t>(upper * size) + 8) - before;
      begin += before;
    }
    prefetch(m.indices + begin, int64_t{4} * size);
    if (kWeighted) prefetch(weights + begin, static_cast<int64_t>(sizeof(T)) * size);
  };
  const auto deliver = [&] {
    for (int64_t i = 0; i < std::min(n, kPointersAhead); ++i) prefetch_line(segments[i].pointer);
    for (int64_t i = 0; i < std::min(n, kDataAhead); ++i) fetch(segments[i]);
    for (int64_t i = 0; i < n; ++i) {
      if (i + kPointersAhead < n) prefetch_line(segments[i + kPointersAhead].pointer);
      if (i + kDataAhead < n) fetch(segments[i + kDataAhead]);
      int32_t begin = segments[i].begin, end = segments[i].end;
      const int32_t size = end - begin;
      if (!whole && size > 0) {
        const int32_t from = begin;
        begin = lower_bound(m.indices, from, end, part.first, from + static_cast<int32_t>(lower * size));
        end = lower_bound(m.indices, begin, end, part.first + part.size, from + static_cast<int32_t>(upper * size));
        lower += 0.125 * (static_cast<double>(begin - from) / size - lower);
        upper += 0.125 * (static_cast<double>(end - from) / size - upper);
      }
      add_segment<T, kWeighted>(m.indices, begin, end, segments[i].value, part, weights, out);
    }
    n = 0;
  };

  for (int64_t slot = 0; slot < m.n_slots; ++slot) {
    const int64_t r = m.row(k, slot);
    spikes_of(history + r * m.n_pre, hints + r * m.hint_size, m, [&](int64_t pre, T value) {
      segments[n++] = {m.pointer(pre, slot), value, 0, 0};
      if (n == kSegments) deliver();
    });
  }
  deliver();
}

// The sum over synapses begin .. end of weight * values[post].
template <typename T, bool kWeighted>
inline T gather_segment(const Delayed& m, int32_t begin, int32_t end, const T* BRAINSIM_RESTRICT values,
                        const T* BRAINSIM_RESTRICT weights) {
  const auto term = [&](int64_t j) {
    const uint32_t post = static_cast<uint32_t>(m.indices[j]);
    if (post >= static_cast<uint32_t>(m.n_post)) return T{0};
    return kWeighted ? weights[j] * values[post] : values[post];
  };
  T sum[4] = {0, 0, 0, 0};  // four chains of additions: one would wait for itself
  int64_t j = begin;  // 64 bits: j + 4 may not overflow
  for (; j + 4 <= end; j += 4)
    for (int32_t i = 0; i < 4; ++i) sum[i] += term(j + i);
  for (; j < end; ++j) sum[0] += term(j);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Calls `visit(place, begin, end)` for every segment that is not empty of neurons first .. last, in about the order of the
// synapses, which the hardware fetches ahead: `place` is that of the neuron in the ring, begin .. end are its synapses.
template <typename Visit>
inline void all_segments(const Delayed& m, int64_t k, int64_t first, int64_t last, Visit visit) {
  constexpr int64_t kSlots = 64;
  int64_t starts[kSlots];  // of rows, which take a division each
  for (int64_t from = 0; from < m.n_slots; from += kSlots) {
    const int64_t size = std::min(kSlots, m.n_slots - from);
    for (int64_t i = 0; i < size; ++i) starts[i] = m.row(k, from + i) * m.n_pre;
    for (int64_t pre = first; pre < last; ++pre) {
      for (int64_t i = 0; i < size; ++i) {
        const int32_t* pointer = m.pointer(pre, from + i);
        const int32_t begin = m.bound(pointer[0], 0), end = m.bound(pointer[1], begin);
        if (begin < end) visit(starts[i] + pre, begin, end);
      }
    }
  }
}

// out[row, pre] = sum over the synapses of `pre` that look at this row in step k of weight * values[post]: the transpose
// of `arrivals` with respect to the history. For presynaptic neurons first .. last; other rows are 0.
template <typename T, bool kWeighted>
void arrivals_gather(const Delayed& m, int64_t k, const T* BRAINSIM_RESTRICT values, const T* BRAINSIM_RESTRICT weights,
                     int64_t first, int64_t last, T* BRAINSIM_RESTRICT out) {
  for (int64_t r = 0; r < m.n_rows; ++r) std::fill(out + r * m.n_pre + first, out + r * m.n_pre + last, T{0});
  all_segments(m, k, first, last, [&](int64_t place, int32_t begin, int32_t end) {
    out[place] += gather_segment<T, kWeighted>(m, begin, end, values, weights);
  });
}

// out[synapse] += value of the spike that arrives at it in step k * values[post]: the transpose with respect to the
// weights, of one vector of a batch.
template <typename T>
void arrivals_outer(const Delayed& m, int64_t k, const T* BRAINSIM_RESTRICT history, const int32_t* hints,
                    const T* BRAINSIM_RESTRICT values, T* BRAINSIM_RESTRICT out) {
  for (int64_t slot = 0; slot < m.n_slots; ++slot) {
    const int64_t r = m.row(k, slot);
    spikes_of(history + r * m.n_pre, hints + r * m.hint_size, m, [&](int64_t pre, T value) {
      const int32_t begin = m.bound(m.pointer(pre, slot)[0], 0), end = m.bound(m.pointer(pre, slot)[1], begin);
      for (int32_t j = begin; j < end; ++j) {
        const uint32_t post = static_cast<uint32_t>(m.indices[j]);
        if (post < static_cast<uint32_t>(m.n_post)) out[j] += value * values[post];
      }
    });
  }
}

}  // namespace brainsim

#endif  // BRAINSIM_ARRIVALS_KERNELS_H_
