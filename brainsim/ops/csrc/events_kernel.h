// The loop that appends spikes to a list; nothing here knows of XLA.

#ifndef BRAINSIM_EVENTS_KERNEL_H_
#define BRAINSIM_EVENTS_KERNEL_H_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "search.h"

namespace brainsim {

// Row 0 of `list` [capacity + 1, 2] holds the number of spikes there were, row i + 1 the step and the neuron of spike i.
// Whatever row 0 holds at the beginning, nothing is written outside of the list. Neurons are counted from `first`.
inline void append_rows(const int32_t* spiking, int64_t found, int64_t first, int32_t step, int32_t* list,
                        int64_t capacity) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t count = std::max<int64_t>(list[0], 0), room = std::max<int64_t>(capacity - count, 0);
  int32_t* row = list + 2 * (count + 1);
  for (int64_t i = 0; i < std::min(found, room); ++i, row += 2) {
    row[0] = step;
    row[1] = static_cast<int32_t>(spiking[i] - first);
  }
  list[0] = static_cast<int32_t>(std::min(count + found, kMost));
}

template <typename T>
void append(const T* spikes, int64_t n, int32_t step, int32_t* list, int64_t capacity) {
  for_spikes(spikes, n, [&](const int32_t* spiking, int64_t found) {
    append_rows(spiking, found, 0, step, list, capacity);
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_EVENTS_KERNEL_H_
