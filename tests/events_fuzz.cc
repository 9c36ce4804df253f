// Runs the loops of events_kernel.h and at_spikes_kernel.h on random spikes and wild counts; built with sanitisers by
// test_sanitisers.py.

#include <cstdio>
#include <random>
#include <vector>

#include "at_spikes_kernel.h"
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

// Two lists that share the neurons, an array of each kind: entries change where there is a spike, and only there.
template <typename T>
bool replaces(std::mt19937& random) {
  const int64_t n = random() % 700, middle = random() % (n + 1);
  std::vector<T> spikes(n), wide(n, T{5}), values(n);
  std::vector<int32_t> times(n, -1), one = {2147483647}, first(2 * (1 + random() % 9), 0), second(2 * (1 + random() % 99), 0);
  const unsigned share = random() % 101;
  for (int64_t i = 0; i < n; ++i) spikes[i] = random() % 100 < share ? T{1} : T{0}, values[i] = T(i);
  const int64_t size = sizeof(T);
  const auto bytes = [](auto& v) { return reinterpret_cast<char*>(v.data()); };
  const brainsim::Target targets[] = {{bytes(wide), bytes(values), size, size, false}, {bytes(times), bytes(one), 0, 4, true}};
  const brainsim::List lists[] = {{first.data(), int64_t(first.size()) / 2 - 1, 0, middle},
                                  {second.data(), int64_t(second.size()) / 2 - 1, middle, n - middle}};
  brainsim::at_spikes<T>(spikes.data(), n, 3, targets, 2, lists, 2);
  int64_t counts[2] = {0, 0};
  for (int64_t i = 0; i < n; ++i) {
    const bool fired = spikes[i] != T{0};
    counts[i >= middle] += fired;
    if (wide[i] != (fired ? T(i) : T{5}) || times[i] != (fired ? -2147483647 + 1 : -1)) return false;
  }
  return first[0] == counts[0] && second[0] == counts[1];
}

int main() {
  std::mt19937 random(0);
  for (int k = 0; k < 20000; ++k)
    if (!survives<float>(random) || !survives<double>(random)) return std::printf("wrong count\n"), 1;
  for (int k = 0; k < 5000; ++k)
    if (!replaces<float>(random) || !replaces<double>(random)) return std::printf("wrong entry\n"), 1;
  std::printf("ok\n");
}
