// Products on compressed rows, shared among threads that add up a part of the postsynaptic neurons each. Nothing here knows
// of XLA.
//
// A neuron is added up by one thread, in the order of deliver_blocks, so the number of threads changes no bit. In rows that
// are sorted, the entries of a part follow one another: a search finds them, and a thread reads no others. Nobody promises
// that rows are sorted, so each thread watches out for entries among its own that belong to another. The pieces of a row
// cover it, whatever it holds: if no thread finds any, nothing was left out or added twice. Else what was added is of no
// use, and one thread has to start again.

#ifndef BRAINSIM_CSR_SHARED_H_
#define BRAINSIM_CSR_SHARED_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "blocks_kernels.h"
#include "part.h"

namespace brainsim {

constexpr int64_t kWorthSharing = 1 << 16;  // synaptic events: each thread looks at every row, and a list is made first
constexpr int64_t kVisits = 4096, kRuns = 64;  // delivered at a time: threads meet once for all of them

// Rows of one block that are delivered one after the other: `count` of those that were collected, from `first` on.
template <typename T>
struct Run {
  const Block<T>* block;
  const T* spikes;
  int64_t first, count;
};

// The rows to deliver next, in this order.
template <typename T>
struct Visits {
  Run<T> runs[kRuns];
  int64_t n_runs = 0, n = 0;
  double events = 0;  // expected from the mean length of a row
  int32_t rows[kVisits];

  bool full() const { return n_runs == kRuns || n == kVisits; }

  // Takes the first of these rows, and says how many.
  int64_t take(const Block<T>& block, const T* spikes, const int32_t* spiking, int64_t count) {
    const int64_t taken = std::min(count, kVisits - n);
    std::copy(spiking, spiking + taken, rows + n);
    runs[n_runs++] = {&block, spikes, n, taken};
    n += taken;
    events += static_cast<double>(taken) * static_cast<double>(block.rows.nnz) / static_cast<double>(block.rows.n_pre);
    return taken;
  }
};

// Calls `visit(neuron)` for the rows of a run until it says no, while what the part probably has of those that follow comes
// from memory.
template <typename T, bool kWeighted, typename Visit>
inline void for_run(const Visits<T>& v, const Run<T>& run, Part part, Visit visit) {
  const Block<T>& block = *run.block;
  const double n_post = static_cast<double>(std::max<int64_t>(1, block.rows.n_post));
  const double lower = static_cast<double>(part.first) / n_post, share = static_cast<double>(part.size) / n_post;
  const int32_t* rows = v.rows + run.first;
  const auto bounds = [&](int64_t k) {
    if (k < run.count) prefetch_bounds(block.rows, rows[k] - block.first_pre);
  };
  const auto fetch = [&](int64_t k) {
    if (k >= run.count) return;
    const int64_t row = rows[k] - block.first_pre, begin = block.rows.begin(row), size = block.rows.end(row) - begin;
    const int64_t from = begin + static_cast<int64_t>(lower * static_cast<double>(size));
    const int64_t mine = std::min(begin + size - from, static_cast<int64_t>(share * static_cast<double>(size)) + 1);
    prefetch(block.rows.indices + from, int64_t{4} * mine);
    if (kWeighted) prefetch(block.weights + from, static_cast<int64_t>(sizeof(T)) * mine);
  };
  for (int64_t k = 0; k < 2 * kAhead; ++k) bounds(k);
  for (int64_t k = 0; k < kAhead; ++k) fetch(k);
  for (int64_t k = 0; k < run.count; ++k) {
    bounds(k + 2 * kAhead);
    fetch(k + kAhead);
    if (!visit(rows[k])) return;
  }
}

// Where in a row the entries of neuron `post` and those after it begin, if it is sorted; the same for every thread, always.
inline int32_t split(const Rows& rows, int32_t begin, int32_t end, int64_t post) {
  if (post <= 0) return begin;
  if (post >= rows.n_post) return end;
  const double share = static_cast<double>(post) / static_cast<double>(rows.n_post);
  return lower_bound(rows.indices, begin, end, post, begin + static_cast<int32_t>(share * (end - begin)));
}

// Adds what indices[begin .. end) have in the part; whether all that are valid were there.
template <typename T, bool kWeighted>
inline bool add_all(const Rows& rows, int32_t begin, int32_t end, T value, Part part, const T* BRAINSIM_RESTRICT weights,
                    T* BRAINSIM_RESTRICT out) {
  const uint32_t first = static_cast<uint32_t>(part.first), size = static_cast<uint32_t>(part.size);
  T* BRAINSIM_RESTRICT mine = out + part.first;
  bool good = true;
  const auto add = [&](uint32_t post, int64_t j) {
    const uint32_t at = post - first;
    if (at < size) {
      mine[at] += kWeighted ? weights[j] * value : value;
    } else if (post < static_cast<uint32_t>(rows.n_post)) {
      good = false;
    }
  };
  for_synapses(rows.indices, begin, end, add);
  return good;
}

// Adds what part i has of the rows of a run, as long as all rows were sorted.
template <typename T, bool kWeighted>
void add_part(const Visits<T>& v, const Run<T>& run, int64_t i, int64_t parts, std::atomic<bool>& sorted) {
  const Block<T>& block = *run.block;
  const Part part = part_of(block.n_target, i, parts, block.first_post, block.rows.n_post);
  const T factor = kWeighted ? T{1} : *block.weights;
  for_run<T, kWeighted>(v, run, part, [&](int32_t spiking) {
    const int64_t row = spiking - block.first_pre;
    const int32_t begin = block.rows.begin(row), end = block.rows.end(row);
    const int32_t from = i == 0 ? begin : split(block.rows, begin, end, part.first);
    const int32_t to = i == parts - 1 ? end : split(block.rows, begin, end, part.first + part.size);
    if (!add_all<T, kWeighted>(block.rows, from, to, factor * run.spikes[spiking], part, block.weights, block.out))
      sorted.store(false, std::memory_order_relaxed);
    return sorted.load(std::memory_order_relaxed);
  });
}

// Delivers the rows that were collected, on one thread.
template <typename T>
void deliver_alone(const Visits<T>& v) {
  const Run<T>* end = v.runs + v.n_runs;
  for (const Run<T>* run = v.runs; run != end; ++run)
    for (int64_t k = 0; k < std::min(run->count, 2 * kAhead); ++k)
      prefetch_bounds(run->block->rows, v.rows[run->first + k] - run->block->first_pre);
  for (const Run<T>* run = v.runs; run != end; ++run) prefetch_first(*run->block, v.rows + run->first, run->count);
  for (const Run<T>* run = v.runs; run != end; ++run)
    deliver_block(*run->block, v.rows + run->first, run->count, run->spikes);
}

// `deliver_blocks` for several sources, by as many threads as there are parts, if what is delivered first is worth it:
// `worth` synaptic events. `share(run)` calls run(i) for every part, and returns when all are done; before anything is added
// to a part of the targets, whoever does it calls `prepare(i, parts)`. False if a row was not sorted.
template <typename T, typename Share, typename Prepare>
bool deliver_shared(const Source<T>* sources, int64_t n_sources, int64_t parts, Share share, Prepare prepare,
                    double worth = kWorthSharing) {
  Visits<T> v;
  std::atomic<bool> sorted{true};
  bool first = true, together = false;
  const auto deliver = [&] {
    if (!sorted) return;
    if (first) together = v.events >= worth;
    if (first && !together) prepare(0, 1);
    if (together) {
      share([&](int64_t i) {
        if (first) prepare(i, parts);
        for (const Run<T>* run = v.runs; run != v.runs + v.n_runs; ++run)
          run->block->each ? add_part<T, true>(v, *run, i, parts, sorted) : add_part<T, false>(v, *run, i, parts, sorted);
      });
    } else {
      deliver_alone(v);
    }
    first = false;
    v.n_runs = v.n = 0;
    v.events = 0;
  };
  for (const Source<T>* s = sources; s != sources + n_sources && sorted; ++s) {
    for_spikes(s->spikes, s->n, [&](const int32_t* spiking, int64_t found) {
      for_blocks(s->blocks, s->n_blocks, spiking, found, [&](const Block<T>& block, const int32_t* rows, int64_t count) {
        for (int64_t k = 0; k < count && sorted;) {
          k += v.take(block, s->spikes, rows + k, count - k);
          if (v.full()) deliver();
        }
      });
    });
  }
  if (v.n > 0 || first) deliver();
  return sorted;
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_SHARED_H_
