// Work shared among the threads of XLA's own pool.

#ifndef BRAINSIM_PARALLEL_H_
#define BRAINSIM_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "part.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {

constexpr int64_t kWorthVectors = 1 << 18;  // numbers to search for spikes or to set to zero

// Calls run(i) for i = 0 .. n, on the calling thread and those of the pool that are free. The caller takes part, and
// waits only for calls that have begun, so it makes no difference if no other thread ever turns up.
inline void parallel(xla::ffi::ThreadPool& pool, int64_t n, std::function<void(int64_t)> run) {
  const int64_t helpers = n > 1 ? std::min(n, pool.num_threads()) - 1 : 0;
  if (helpers <= 0) {
    for (int64_t i = 0; i < n; ++i) run(i);
    return;
  }
  struct Work {
    std::function<void(int64_t)> run;
    int64_t n;
    std::atomic<int64_t> next{0}, done{0};

    void take_part() {
      for (int64_t i = next++; i < n; i = next++) {
        run(i);
        ++done;
      }
    }
  };
  const auto work = std::make_shared<Work>();  // a thread that comes too late still looks at it
  work->run = std::move(run);
  work->n = n;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work] { work->take_part(); });
  work->take_part();
  while (work->done < n) std::this_thread::yield();
}

// Among how many threads to share what is shared by parts of the neurons.
inline int64_t most_parts(const xla::ffi::ThreadPool& pool) {
  return std::max<int64_t>(1, std::min(kMostParts, pool.num_threads()));
}

// Calls run(k) for every vector of a batch, each with `size` numbers to go through at least: too few are done sooner by one
// thread than another is awake.
template <typename Run>
void each_vector(xla::ffi::ThreadPool& pool, int64_t vectors, int64_t size, Run run) {
  if (vectors > 1 && vectors * size >= kWorthVectors) return parallel(pool, vectors, run);
  for (int64_t k = 0; k < vectors; ++k) run(k);
}

}  // namespace brainsim

#endif  // BRAINSIM_PARALLEL_H_
