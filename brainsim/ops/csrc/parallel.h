// Work shared among the threads of XLA's own pool.

#ifndef BRAINSIM_PARALLEL_H_
#define BRAINSIM_PARALLEL_H_

#include <algorithm>
#include <cstdint>

#include "part.h"
#include "xla.h"

namespace brainsim {

constexpr int64_t kWorthVectors = 1 << 18;  // numbers to search for spikes or to set to zero

// Calls run(data, i) for i = 0 .. n, on the calling thread and those of the pool that are free. The caller takes part, and
// waits only for calls that have begun, so it makes no difference if no other thread ever turns up.
void parallel(const ffi::ThreadPool& pool, int64_t n, void (*run)(void* data, int64_t i), void* data);

// The same for any function run(i).
template <typename Run>
void parallel(const ffi::ThreadPool& pool, int64_t n, Run run) {
  parallel(pool, n, [](void* data, int64_t i) { (*static_cast<Run*>(data))(i); }, &run);
}

// Among how many threads to share what is shared by parts of the neurons.
inline int64_t most_parts(const ffi::ThreadPool& pool) {
  return std::max<int64_t>(1, std::min(kMostParts, pool.num_threads()));
}

// Calls run(k) for every vector of a batch, each with `size` numbers to go through at least: too few are done sooner by one
// thread than another is awake.
template <typename Run>
void each_vector(const ffi::ThreadPool& pool, int64_t vectors, int64_t size, Run run) {
  if (vectors > 1 && vectors * size >= kWorthVectors) return parallel(pool, vectors, run);
  for (int64_t k = 0; k < vectors; ++k) run(k);
}

}  // namespace brainsim

#endif  // BRAINSIM_PARALLEL_H_
