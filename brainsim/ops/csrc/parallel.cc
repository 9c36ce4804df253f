// Work shared among the threads of XLA's own pool: see parallel.h.

#include "parallel.h"

#include <atomic>
#include <memory>
#include <thread>

namespace brainsim {
namespace {

struct Work {
  void (*run)(void* data, int64_t i);
  void* data;
  int64_t n;
  std::atomic<int64_t> next{0}, done{0};

  Work(void (*run)(void*, int64_t), void* data, int64_t n) : run(run), data(data), n(n) {}

  void take_part() {
    for (int64_t i = next++; i < n; i = next++) {
      run(data, i);
      ++done;
    }
  }
};

// What a thread of the pool gets, and deletes: one that comes too late still looks at the work.
void help(void* shared) {
  const std::unique_ptr<std::shared_ptr<Work>> work(static_cast<std::shared_ptr<Work>*>(shared));
  (*work)->take_part();
}

}  // namespace

void parallel(const ffi::ThreadPool& pool, int64_t n, void (*run)(void* data, int64_t i), void* data) {
  const int64_t helpers = n > 1 ? std::min(n, pool.num_threads()) - 1 : 0;
  if (helpers <= 0) {
    for (int64_t i = 0; i < n; ++i) run(data, i);
    return;
  }
  const auto work = std::make_shared<Work>(run, data, n);
  for (int64_t i = 0; i < helpers; ++i) pool.schedule(help, new std::shared_ptr<Work>(work));
  work->take_part();
  while (work->done < n) std::this_thread::yield();
}

}  // namespace brainsim
