// The loops of arrivals_kernels.h and arrivals_gradients.h on valid and on wild patterns, for a build with the address and
// undefined-behaviour sanitisers (tests/test_sanitisers.py): every array is its own allocation, so an access out of bounds
// ends the program.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "arrivals_gradients.h"

template <typename T>
std::unique_ptr<T[]> array(int64_t n, T value) {
  auto a = std::make_unique<T[]>(n);
  std::fill(a.get(), a.get() + n, value);
  return a;
}

template <typename T>
bool run(std::mt19937& rng, bool wild) {
  const auto draw = [&](int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); };
  const int64_t n_pre = draw(200), n_post = 1 + draw(50), n_slots = draw(5), rows = 1 + draw(6), size = draw(30);
  const int32_t strange[] = {INT32_MIN, INT32_MIN + 1, -1, 0, 7, 49, 50, 700, 100000, INT32_MAX - 1, INT32_MAX};
  const int64_t nnz = n_pre * n_slots == 0 ? 0 : draw(9000), width = n_slots + 1, k = wild ? strange[draw(11)] : draw(99);
  auto indices = array<int32_t>(nnz, 0), indptr = array<int32_t>(n_pre * width, 0), steps = array<int32_t>(n_slots, 0);
  std::vector<int32_t> bounds(n_pre * n_slots + 1);
  for (auto& b : bounds) b = static_cast<int32_t>(draw(nnz + 1));
  std::sort(bounds.begin(), bounds.end());
  for (int64_t i = 0; i < n_pre; ++i)
    for (int64_t d = 0; d < width; ++d) indptr[i * width + d] = wild ? strange[draw(11)] : bounds[i * n_slots + d];
  for (int64_t d = 0; d < n_slots; ++d) steps[d] = wild ? strange[draw(11)] : int32_t(1 + draw(rows));
  for (int64_t j = 0; j < nnz; ++j) indices[j] = wild ? strange[draw(11)] : int32_t(draw(n_post));
  for (int64_t f = 0; f + 1 < static_cast<int64_t>(bounds.size()) && !wild; ++f)
    std::sort(indices.get() + bounds[f], indices.get() + bounds[f + 1]);
  const brainsim::Delayed m{indices.get(), indptr.get(), steps.get(), nnz, n_pre, n_slots, n_post, rows, size};

  auto history = array<T>(rows * n_pre, 0), values = array<T>(n_post, 1), weights = array<T>(nnz, 2);
  auto hints = array<int32_t>(rows * size, 0);
  const int64_t active = 1 + draw(20);
  for (int64_t i = 0; i < rows * n_pre; ++i) history[i] = draw(active) == 0;
  for (int64_t r = 0; r < rows; ++r) brainsim::compact(history.get() + r * n_pre, n_pre, size, hints.get() + r * size);
  if (wild)
    for (int64_t i = 0; i < rows * size; ++i) hints[i] = strange[draw(11)];

  auto out = array<T>(n_post, 0), unit = array<T>(n_post, 0), found = array<T>(rows * n_pre, NAN), w = array<T>(nnz, 0);
  const int64_t parts = 1 + draw(4);
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t first = n_post * i / parts, last = n_post * (i + 1) / parts;
    brainsim::arrivals<T, true>(m, k, history.get(), hints.get(), weights.get(), {first, last - first}, out.get());
    brainsim::arrivals<T, false>(m, k, history.get(), hints.get(), nullptr, {first, last - first}, unit.get());
  }
  brainsim::arrivals_gather<T, false>(m, k, values.get(), nullptr, 0, n_pre, found.get());
  brainsim::arrivals_gather<T, true>(m, k, values.get(), weights.get(), 0, n_pre, found.get());
  brainsim::arrivals_outer<T>(m, k, history.get(), hints.get(), values.get(), w.get());
  auto total = array<T>(rows * n_pre, 1), some = array<T>(rows * n_pre, 1), sums = array<T>(nnz, 3);
  auto relevant = array<bool>(rows * n_pre, false);
  for (int64_t i = 0; i < rows * n_pre; ++i) relevant[i] = draw(active) == 0;
  const int64_t middle = draw(n_pre + 1);  // two threads' parts
  brainsim::arrivals_collect<T, true>(m, k, values.get(), weights.get(), nullptr, 0, n_pre, total.get());
  brainsim::arrivals_collect<T, true>(m, k, values.get(), weights.get(), relevant.get(), 0, middle, some.get());
  brainsim::arrivals_collect<T, true>(m, k, values.get(), weights.get(), relevant.get(), middle, n_pre, some.get());
  brainsim::arrivals_accumulate<T>(m, k, history.get(), hints.get(), values.get(), sums.get());
  if (wild) return true;

  // The sums are those of a loop as plain as can be.
  auto expected = array<T>(n_post, 0), back = array<T>(rows * n_pre, 0);
  for (int64_t i = 0; i < n_pre; ++i) {
    for (int64_t d = 0; d < n_slots; ++d) {
      const int64_t row = ((k - steps[d]) % rows + rows) % rows;
      for (int64_t j = bounds[i * n_slots + d]; j < bounds[i * n_slots + d + 1]; ++j) {
        expected[indices[j]] += history[row * n_pre + i];
        back[row * n_pre + i] += 2;
        if (w[j] != history[row * n_pre + i] || sums[j] != 3 + w[j]) return false;
      }
    }
  }
  for (int64_t j = 0; j < n_post; ++j)
    if (unit[j] != expected[j] || out[j] != 2 * expected[j]) return false;
  for (int64_t i = 0; i < rows * n_pre; ++i)
    if (found[i] != back[i] || total[i] != 1 + back[i] || some[i] != 1 + (relevant[i] ? back[i] : 0)) return false;
  return true;
}

int main() {
  std::mt19937 rng(0);
  for (int i = 0; i < 300; ++i) {
    if (!run<float>(rng, i % 2) || !run<double>(rng, i % 2)) {
      std::printf("wrong result in round %d\n", i);
      return 1;
    }
  }
  std::printf("ok\n");
}
