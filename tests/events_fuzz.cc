// Runs the loop of events_kernel.h on random spikes and wild counts; built with sanitisers by test_spike_lists.py.

#include <cstdio>
#include <random>
#include <vector>

#include "events_kernel.h"

template <typename T>
bool survives(std::mt19937& random) {
  const int64_t n = random() % 200, capacity = random() % 50;
  std::vector<T> spikes(n);
  int64_t fired = 0;
  const unsigned share = random() % 101;
  for (T& x : spikes) x = random() % 100 < share ? T{1} : -T{0}, fired += x != T{0};
  std::vector<int32_t> list(2 * (capacity + 1), 0);
  const int32_t wild[] = {0, 1, 49, 50, 51, -1, 2147483647, -2147483647 - 1};
  const int32_t before = list[0] = wild[random() % 8];
  brainsim::append<T>(spikes.data(), n, 7, list.data(), capacity);
  const int64_t expected = std::min<int64_t>(std::max<int64_t>(before, 0) + fired, 2147483647);
  return list[0] == expected;
}

int main() {
  std::mt19937 random(0);
  for (int k = 0; k < 20000; ++k)
    if (!survives<float>(random) || !survives<double>(random)) return std::printf("wrong count\n"), 1;
  std::printf("ok\n");
}
