// What happens where there are spikes: the loops of at_spikes.cc. Nothing here knows of XLA; no loop leaves its buffers.

#ifndef BRAINSIM_AT_SPIKES_KERNEL_H_
#define BRAINSIM_AT_SPIKES_KERNEL_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "events_kernel.h"
#include "search.h"
#include "targets.h"

namespace brainsim {

template <typename Entry>
void replace(const Target& target, const int32_t* spiking, int64_t found) {
  for (int64_t i = 0; i < found; ++i)
    std::memcpy(target.array + spiking[i] * sizeof(Entry), target.values + spiking[i] * target.stride, sizeof(Entry));
}

inline void replace_times(const Target& target, const int32_t* spiking, int64_t found, int32_t now) {
  for (int64_t i = 0; i < found; ++i) {
    uint32_t delay;  // unsigned, so that a sum may wrap
    std::memcpy(&delay, target.values + spiking[i] * target.stride, sizeof(delay));
    const uint32_t time = delay + static_cast<uint32_t>(now);
    std::memcpy(target.array + spiking[i] * sizeof(time), &time, sizeof(time));
  }
}

template <typename T>
void at_spikes(const T* spikes, int64_t n, int32_t step, const Target* targets, size_t n_targets, const List* lists,
         size_t n_lists) {
  for_spikes(spikes, n, [&](const int32_t* spiking, int64_t found) {
    for (const Target* t = targets; t != targets + n_targets; ++t)
      t->timed      ? replace_times(*t, spiking, found, step)
      : t->size == 8 ? replace<uint64_t>(*t, spiking, found) : replace<uint32_t>(*t, spiking, found);
    for (const List* list = lists; list != lists + n_lists; ++list) {
      const int32_t* begin = std::lower_bound(spiking, spiking + found, list->first);
      const int32_t* end = std::lower_bound(begin, spiking + found, list->first + list->n);
      append_rows(begin, end - begin, list->first, step, list->rows, list->capacity);
    }
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_AT_SPIKES_KERNEL_H_
