// A part of the postsynaptic neurons, which one thread takes care of, and where it begins in a row. Nothing here knows of XLA.

#ifndef BRAINSIM_PART_H_
#define BRAINSIM_PART_H_

#include <algorithm>
#include <cstdint>

namespace brainsim {

constexpr int64_t kMostParts = 8;           // each thread looks at every row
constexpr int64_t kWorthThreads = 1 << 14;  // synaptic events; fewer are delivered before another thread is awake

// Neurons first .. first + size.
struct Part {
  int64_t first, size;
};

// Part i of `parts` of n neurons, as far as it lies among `size` neurons from `begin` on, and counted from there.
inline Part part_of(int64_t n, int64_t i, int64_t parts, int64_t begin, int64_t size) {
  const auto within = [&](int64_t neuron) { return std::max<int64_t>(0, std::min(neuron - begin, size)); };
  const int64_t first = within(n * i / parts);
  return {first, within(n * (i + 1) / parts) - first};
}

// The first entry of the sorted indices[begin .. end) that is not below `post`, searched from `guess` on.
inline int32_t lower_bound(const int32_t* indices, int32_t begin, int32_t end, int64_t post, int32_t guess) {
  int64_t low = begin, high = end, step = 8;  // all before `low` are below, none from `high` on is
  guess = std::max(begin, std::min(guess, end));
  if (guess < end && indices[guess] < post) {
    low = guess + 1;
    while (low + step < high && indices[low + step] < post) low += step + 1, step *= 2;
    high = std::min(high, low + step);
  } else {
    high = guess;
    while (high - step > low && indices[high - step] >= post) high -= step, step *= 2;
    low = std::max(low, high - step);
  }
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const bool below = indices[middle] < post;
    low = below ? middle + 1 : low;
    high = below ? high : middle;
  }
  return static_cast<int32_t>(low);
}

}  // namespace brainsim

#endif  // BRAINSIM_PART_H_
