// The loops of arrivals_gradients.cc; nothing here knows of XLA. As in arrivals_kernels.h, no loop leaves its buffers.

#ifndef BRAINSIM_ARRIVALS_GRADIENTS_H_
#define BRAINSIM_ARRIVALS_GRADIENTS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "arrivals_kernels.h"

namespace brainsim {

// Calls `visit(place, begin, end)` for the segments that `chosen(row, found)` chooses by calling found(pre), while those
// that follow are on their way from memory: `place` is that of the neuron in the ring, begin .. end are its synapses.
template <typename T, bool kWeighted, typename Chosen, typename Visit>
void for_segments(const Delayed& m, int64_t k, const T* weights, Chosen chosen, Visit visit) {
  struct Found {
    const int32_t* pointer;
    int64_t place;
  };
  Found found[kSegments];
  int64_t n = 0;
  const auto begin = [&](const Found& f) { return m.bound(f.pointer[0], 0); };
  const auto end = [&](const Found& f) { return m.bound(f.pointer[1], begin(f)); };
  const auto fetch = [&](const Found& f) {
    const int64_t size = end(f) - begin(f);
    prefetch(m.indices + begin(f), int64_t{4} * size);
    if (kWeighted) prefetch(weights + begin(f), static_cast<int64_t>(sizeof(T)) * size);
  };
  const auto visit_all = [&] {
    for (int64_t i = 0; i < std::min(n, kPointersAhead); ++i) prefetch_line(found[i].pointer);
    for (int64_t i = 0; i < std::min(n, kDataAhead); ++i) fetch(found[i]);
    for (int64_t i = 0; i < n; ++i) {
      if (i + kPointersAhead < n) prefetch_line(found[i + kPointersAhead].pointer);
      if (i + kDataAhead < n) fetch(found[i + kDataAhead]);
      visit(found[i].place, begin(found[i]), end(found[i]));
    }
    n = 0;
  };
  for (int64_t slot = 0; slot < m.n_slots; ++slot) {
    const int64_t row = m.row(k, slot);
    chosen(row, [&](int64_t pre) {
      found[n++] = {m.pointer(pre, slot), row * m.n_pre + pre};
      if (n == kSegments) visit_all();
    });
  }
  visit_all();
}

// sum[synapse] += value of the spike that arrives at it in step k * values[post]: `arrivals_outer`, added to what is
// there already.
template <typename T>
void arrivals_accumulate(const Delayed& m, int64_t k, const T* BRAINSIM_RESTRICT history, const int32_t* hints,
                         const T* BRAINSIM_RESTRICT values, T* BRAINSIM_RESTRICT sum) {
  for_segments<T, true>(
      m, k, sum,
      [&](int64_t row, auto found) {
        spikes_of(history + row * m.n_pre, hints + row * m.hint_size, m, [&](int64_t pre, T) { found(pre); });
      },
      [&](int64_t place, int32_t begin, int32_t end) {
        for (int32_t j = begin; j < end; ++j)
          if (m.valid(m.indices[j])) sum[j] += history[place] * values[m.indices[j]];
      });
}

// Calls `found(i)` for every i in first .. last with a mark, ascending; most have none, which shows eight at a time.
template <typename Found>
inline void marked(const bool* marks, int64_t first, int64_t last, Found found) {
  int64_t i = first;
  for (; i + 8 <= last; i += 8) {
    uint64_t eight;
    std::memcpy(&eight, marks + i, sizeof(eight));
    if (eight == 0) continue;
    for (int64_t j = i; j < i + 8; ++j)
      if (marks[j]) found(j);
  }
  for (; i < last; ++i)
    if (marks[i]) found(i);
}

// total[row, pre] += what `arrivals_gather` finds, where `relevant` (everywhere, if that is null), for presynaptic
// neurons first .. last.
template <typename T, bool kWeighted>
void arrivals_collect(const Delayed& m, int64_t k, const T* BRAINSIM_RESTRICT values, const T* BRAINSIM_RESTRICT weights,
                      const bool* BRAINSIM_RESTRICT relevant, int64_t first, int64_t last, T* BRAINSIM_RESTRICT total) {
  const auto add = [&](int64_t place, int32_t begin, int32_t end) {
    if (begin < end) total[place] += gather_segment<T, kWeighted>(m, begin, end, values, weights);
  };
  if (relevant == nullptr) return all_segments(m, k, first, last, add);
  for_segments<T, kWeighted>(
      m, k, weights, [&](int64_t row, auto found) { marked(relevant + row * m.n_pre, first, last, found); }, add);
}

}  // namespace brainsim

#endif  // BRAINSIM_ARRIVALS_GRADIENTS_H_
