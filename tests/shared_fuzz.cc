// The loops of csr_shared.h, on several threads, have the same bits as those of blocks_kernels.h, on one, or say that rows are
// not sorted: on rows that are, on all but one that are, on any, and on wild ones. For a build with sanitisers (tests/test_sanitisers.py): every array is its
// own allocation.

#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "csr_shared.h"

using namespace brainsim;

enum class Order { kSorted, kNearly, kAny, kWild };

struct Draw {
  std::mt19937& rng;
  int64_t operator()(int64_t n) const { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }
};

template <typename T>
std::unique_ptr<T[]> array(int64_t n, T value) {
  auto a = std::make_unique<T[]>(n);
  std::fill(a.get(), a.get() + n, value);
  return a;
}

// A matrix with arrays of its own.
template <typename T>
struct Matrix {
  std::unique_ptr<int32_t[]> indices, indptr;
  std::unique_ptr<T[]> weights;
  Rows rows;

  Matrix(const Draw& draw, Order order, int64_t n_pre, int64_t n_post, bool each) {
    const int64_t nnz = n_post == 0 ? draw(5) : draw(n_pre * 6 + 1);
    const int32_t strange[] = {INT32_MIN, -1, 0, 7, 49, 50, 700, 100000, INT32_MAX};
    indices = array<int32_t>(nnz, 0), indptr = array<int32_t>(n_pre + 1, 0), weights = array<T>(each ? nnz : 1, T(0.3));
    const bool wild = order == Order::kWild || n_post == 0;
    for (int64_t j = 0; j < nnz; ++j) indices[j] = static_cast<int32_t>(wild ? strange[draw(9)] : draw(n_post));
    for (int64_t i = 0; i <= n_pre; ++i) indptr[i] = static_cast<int32_t>(order == Order::kWild ? strange[draw(9)] : draw(nnz + 1));
    for (int64_t j = 0; j < (each ? nnz : 1); ++j) weights[j] = T(1) / T(1 + draw(100));
    if (order != Order::kWild) std::sort(indptr.get(), indptr.get() + n_pre + 1);
    rows = {indices.get(), indptr.get(), nnz, n_pre, n_post};
    const int64_t odd = order == Order::kNearly ? draw(n_pre + 1) : n_pre;  // this row is not sorted
    for (int64_t i = 0; i < n_pre && order < Order::kAny; ++i)
      if (i != odd) std::sort(indices.get() + rows.begin(i), indices.get() + rows.end(i));
  }
};

template <typename T>
bool run(const Draw& draw, Order order) {
  const int64_t n_sources = 1 + draw(3), parts = 2 + draw(3), n_targets = 2;
  const double worth = draw(2) ? 1.0 : 300.0;
  std::vector<Matrix<T>> matrices;
  std::vector<std::unique_ptr<T[]>> spikes;
  std::vector<std::vector<Block<T>>> alone(n_sources), shared(n_sources);
  const int64_t sizes[n_targets] = {draw(60), draw(60)};
  std::unique_ptr<T[]> expected[n_targets], got[n_targets];
  for (int64_t t = 0; t < n_targets; ++t) expected[t] = array<T>(sizes[t], T(0.1)), got[t] = array<T>(sizes[t], T(0.1));
  std::vector<Source<T>> sources;
  for (int64_t s = 0; s < n_sources; ++s) {
    const int64_t n = draw(4) ? draw(700) : 3000, active = 1 + draw(6);
    spikes.push_back(array<T>(n, 0));
    for (int64_t i = 0; i < n; ++i) spikes.back()[i] = draw(active) ? T(0) : T(1) / T(1 + draw(7));
    for (int64_t b = draw(4); b > 0; --b) {
      const int64_t first_pre = draw(n + 1), target = draw(n_targets), first_post = draw(sizes[target] + 1);
      const bool each = draw(2);
      const int64_t n_pre = draw(n - first_pre + 1), n_post = draw(sizes[target] - first_post + 1);
      const auto& m = matrices.emplace_back(draw, order, n_pre, n_post, each);
      Block<T> block{m.rows, first_pre, m.weights.get(), each, nullptr, first_post, sizes[target]};
      block.out = expected[target].get() + first_post, alone[s].push_back(block);
      block.out = got[target].get() + first_post, shared[s].push_back(block);
    }
    sources.push_back({spikes[s].get(), n, shared[s].data(), static_cast<int64_t>(shared[s].size())});
    deliver_blocks(spikes[s].get(), n, alone[s].data(), static_cast<int64_t>(alone[s].size()));
  }
  const auto share = [&](auto task) {
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < parts; ++i) threads.emplace_back([&task, i] { task(i); });
    task(0);
    for (std::thread& thread : threads) thread.join();
  };
  bool prepared[8] = {};
  const auto prepare = [&](int64_t i, int64_t) { prepared[i] = true; };
  if (!deliver_shared<T>(sources.data(), n_sources, parts, share, prepare, worth)) {
    if (order == Order::kSorted) return false;
  } else {
    if (!prepared[0]) return false;
    for (int64_t t = 0; t < n_targets; ++t)
      if (std::memcmp(expected[t].get(), got[t].get(), sizes[t] * sizeof(T)) != 0) return false;
  }

  // One matrix whose target is cleaned first.
  const int64_t n_pre = draw(4) ? draw(700) : 3000, n_post = draw(50);
  const Matrix<T> m(draw, order, n_pre, n_post, true);
  auto x = array<T>(n_pre, 0), plain = array<T>(n_post, 1), fresh = array<T>(n_post, 2);
  for (int64_t i = 0; i < n_pre; ++i) x[i] = draw(3) ? T(0) : T(1) / T(1 + draw(7));
  const Block<T> block{m.rows, 0, m.weights.get(), true, fresh.get(), 0, n_post};
  const Source<T> source{x.get(), n_pre, &block, 1};
  scatter<T, true>(m.rows, x.get(), m.weights.get(), plain.get());
  const auto clean = [&](int64_t i, int64_t all) {
    const Part part = part_of(n_post, i, all, 0, n_post);
    std::fill_n(fresh.get() + part.first, part.size, T(0));
  };
  if (!deliver_shared<T>(&source, 1, parts, share, clean, worth)) return order != Order::kSorted;
  return std::memcmp(plain.get(), fresh.get(), n_post * sizeof(T)) == 0;
}

int main() {
  std::mt19937 rng(0);
  const Draw draw{rng};
  for (int i = 0; i < 200; ++i) {
    const Order order = static_cast<Order>(i % 4);
    if (!run<float>(draw, order) || !run<double>(draw, order)) {
      std::printf("wrong result in round %d\n", i);
      return 1;
    }
  }
  std::printf("ok\n");
}
