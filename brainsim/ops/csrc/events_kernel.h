// The loop that appends spikes to a list; nothing here knows of XLA.

#ifndef BRAINSIM_EVENTS_KERNEL_H_
#define BRAINSIM_EVENTS_KERNEL_H_

#include <algorithm>
#include <cstdint>
#include <limits>

namespace brainsim {

constexpr int64_t kBlock = 64;  // values looked at together: most hold no spike,
constexpr int64_t kPart = 8;    // and of the others, most parts hold none

// Whether all are zero. Comparisons without a branch, which compilers turn into vector code.
template <int64_t kSize, typename T>
inline bool silent(const T* values) {
  int32_t any = 0;
  for (int64_t k = 0; k < kSize; ++k) any |= values[k] != T{0};
  return any == 0;
}

// Row 0 of `list` [capacity + 1, 2] holds the number of spikes there were, row i + 1 the step and the neuron of spike i.
// Whatever row 0 holds at the beginning, nothing is written outside of the list.
template <typename T>
void append(const T* spikes, int64_t n, int32_t step, int32_t* list, int64_t capacity) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  int64_t count = std::max<int64_t>(list[0], 0);
  const auto keep = [&](int64_t i) {
    if (count < capacity) {
      int32_t* row = list + 2 * (count + 1);
      row[0] = step;
      row[1] = static_cast<int32_t>(i);
    }
    ++count;
  };
  const auto look = [&](int64_t i) {
    uint32_t spiked = 0;  // a bit for each value: a branch for each would be mispredicted at every spike
    for (int64_t k = 0; k < kPart; ++k) spiked |= static_cast<uint32_t>(spikes[i + k] != T{0}) << k;
    for (; spiked != 0; spiked >>= 1, ++i) {
      for (; (spiked & 1) == 0; spiked >>= 1) ++i;
      keep(i);
    }
  };
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock)
    if (!silent<kBlock>(spikes + i))
      for (int64_t part = i; part < i + kBlock; part += kPart)
        if (!silent<kPart>(spikes + part)) look(part);
  for (; i < n; ++i)
    if (spikes[i] != T{0}) keep(i);
  list[0] = static_cast<int32_t>(std::min(count, kMost));
}

}  // namespace brainsim

#endif  // BRAINSIM_EVENTS_KERNEL_H_
