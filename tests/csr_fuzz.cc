// The loops of csr_kernels.h and csr_gradients.h on valid and on wild patterns, for a build with the address and undefined-behaviour
// sanitisers (tests/test_sanitisers.py): every array is its own allocation, so an access out of bounds ends the program.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include "blocks_kernels.h"
#include "csr_gradients.h"
#include "csr_kernels.h"

template <typename T>
std::unique_ptr<T[]> array(int64_t n, T value) {
  auto a = std::make_unique<T[]>(n);
  std::fill(a.get(), a.get() + n, value);
  return a;
}

template <typename T>
bool run(std::mt19937& rng, bool wild) {
  const auto draw = [&](int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); };
  const int64_t n_pre = draw(700), n_post = draw(50), batch = 1 + draw(3);
  const int32_t strange[] = {INT32_MIN, INT32_MIN + 1, -1, 0, 7, 49, 50, 700, 100000, INT32_MAX - 1, INT32_MAX};
  const int64_t nnz = n_post == 0 ? draw(5) : draw(3000);
  auto indices = array<int32_t>(nnz, 0);
  auto indptr = array<int32_t>(n_pre + 1, 0);
  for (int64_t j = 0; j < nnz; ++j) indices[j] = wild || n_post == 0 ? strange[draw(11)] : int32_t(draw(n_post));
  for (int64_t i = 0; i <= n_pre; ++i) indptr[i] = wild ? strange[draw(11)] : int32_t(draw(nnz + 1));
  if (!wild) {
    std::sort(indptr.get(), indptr.get() + n_pre + 1);
    indptr[0] = 0;
    indptr[n_pre] = int32_t(nnz);
  }
  const brainsim::Rows rows{indices.get(), indptr.get(), nnz, n_pre, n_post};
  auto spikes = array<T>(batch * n_pre, 0), values = array<T>(batch * n_post, 1), weights = array<T>(nnz, 2);
  const int64_t active = 1 + draw(20);
  for (int64_t i = 0; i < batch * n_pre; ++i) spikes[i] = draw(active) == 0;
  auto events = array<T>(n_post, NAN), unit = array<T>(n_post, NAN), found = array<T>(n_pre, NAN), w = array<T>(nnz, NAN);
  brainsim::scatter<T, true>(rows, spikes.get(), weights.get(), events.get());
  brainsim::scatter<T, false>(rows, spikes.get(), static_cast<const T*>(nullptr), unit.get());
  brainsim::gather<T, false>(rows, 0, n_pre, values.get(), static_cast<const T*>(nullptr), found.get());
  brainsim::gather<T, true>(rows, 0, n_pre, values.get(), weights.get(), found.get());
  brainsim::outer<T>(rows, batch, spikes.get(), values.get(), w.get());

  auto relevant = array<bool>(n_pre, false);
  auto some = array<T>(n_pre, NAN), total = array<T>(nnz, 1);
  for (int64_t i = 0; i < n_pre; ++i) relevant[i] = draw(active) == 0;
  brainsim::gather_relevant<T, false>(rows, values.get(), static_cast<const T*>(nullptr), relevant.get(), some.get());
  brainsim::gather_relevant<T, true>(rows, values.get(), weights.get(), relevant.get(), some.get());
  for (int64_t b = 0; b < batch; ++b)
    brainsim::accumulate_outer<T>(rows, spikes.get() + b * n_pre, values.get() + b * n_post, total.get());
  for (int64_t i = 0; i < n_pre; ++i)
    if (some[i] != (relevant[i] ? found[i] : T(0))) return false;
  for (int64_t j = 0; j < nnz && !wild; ++j)
    if (total[j] != 1 + w[j]) return false;

  // The same rows twice, from the middle of a source to both ends of a result.
  const int64_t before = draw(40);
  auto source = array<T>(before + n_pre, 1), both = array<T>(2 * n_post, 0);
  std::copy(spikes.get(), spikes.get() + n_pre, source.get() + before);
  auto one = array<T>(1, 1);
  const brainsim::Block<T> blocks[] = {{rows, before, weights.get(), true, both.get(), 0, 2 * n_post},
                                       {rows, before, one.get(), false, both.get() + n_post, n_post, 2 * n_post}};
  brainsim::deliver_blocks<T>(source.get(), before + n_pre, blocks, 2);
  for (int64_t j = 0; j < n_post; ++j)
    if (both[j] != events[j] || both[n_post + j] != unit[j]) return false;

  // Every result was written, and (of a valid pattern) the sums are those of a loop as plain as can be.
  for (int64_t j = 0; j < nnz; ++j)
    if (std::isnan(w[j])) return false;
  auto expected = array<T>(n_post, 0);
  for (int64_t i = 0; i < n_pre && !wild && n_post > 0; ++i) {
    if (found[i] != T(2 * (indptr[i + 1] - indptr[i]))) return false;
    for (int64_t j = indptr[i]; j < indptr[i + 1]; ++j) expected[indices[j]] += spikes[i];
  }
  for (int64_t k = 0; k < n_post; ++k)
    if (std::isnan(events[k]) || (!wild && (unit[k] != expected[k] || events[k] != 2 * expected[k]))) return false;
  return true;
}

int main() {
  std::mt19937 rng(0);
  for (int i = 0; i < 200; ++i) {
    if (!run<float>(rng, i % 2) || !run<double>(rng, i % 2)) {
      std::printf("wrong result in round %d\n", i);
      return 1;
    }
  }
  std::printf("ok\n");
}
