// Work shared among the threads of XLA's own pool.

#ifndef BRAINSIM_PARALLEL_H_
#define BRAINSIM_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace brainsim {

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

}  // namespace brainsim

#endif  // BRAINSIM_PARALLEL_H_
