// Products on compressed rows, shared among threads that add up a part of the postsynaptic neurons each. Nothing here knows
// of XLA.
//
// A neuron is added up by one thread, in the order of deliver_blocks, so the number of threads changes no bit. In rows that
// are sorted, the entries of a part follow one another, and a thread reads no others. Nobody promises that rows are: the
// threads first look whether all they were to leave out belongs to another, which takes little of the time that these entries
// take to come from memory. If not, one thread does it all.

#ifndef BRAINSIM_CSR_SHARED_H_
#define BRAINSIM_CSR_SHARED_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "blocks_kernels.h"
#include "part.h"

namespace brainsim {

constexpr int64_t kMostEvents = 1 << 18;   // between two meetings of the threads: what they looked at is still in their caches
constexpr int64_t kVisits = 2048, kRuns = 64;

// Rows of one block that are delivered one after the other: `count` of those that were collected, from `first` on.
template <typename T>
struct Run {
  const Block<T>* block;
  const T* spikes;
  int64_t first, count;
};

// The rows to deliver next, in this order; and where in each of them every part but the last ends.
template <typename T>
struct Visits {
  Run<T> runs[kRuns];
  int64_t n_runs = 0, n = 0;
  double events = 0;  // expected from the mean length of a row
  int32_t rows[kVisits];
  int32_t ends[kMostParts - 1][kVisits];

  bool full() const { return n_runs == kRuns || n == kVisits || events >= kMostEvents; }

  // Takes the first of these rows, and says how many.
  int64_t take(const Block<T>& block, const T* spikes, const int32_t* spiking, int64_t count) {
    const double each = static_cast<double>(block.rows.nnz) / static_cast<double>(std::max<int64_t>(1, block.rows.n_pre));
    const double most = 1 + (kMostEvents - events) / std::max(each, 1.0);
    const int64_t taken = std::min({count, kVisits - n, static_cast<int64_t>(most)});
    std::copy(spiking, spiking + taken, rows + n);
    runs[n_runs++] = {&block, spikes, n, taken};
    n += taken;
    events += each * static_cast<double>(taken);
    return taken;
  }
};

// Calls `visit(k, row)` for the rows of a run, while the indices and, if they are wanted, the weights of those that follow
// come from memory: of each row, what part `i` probably has.
template <typename T, typename Visit>
inline void for_run(const Visits<T>& v, const Run<T>& run, Part part, bool weights, Visit visit) {
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
    if (weights) prefetch(block.weights + from, static_cast<int64_t>(sizeof(T)) * mine);
  };
  for (int64_t k = 0; k < 2 * kAhead; ++k) bounds(k);
  for (int64_t k = 0; k < kAhead; ++k) fetch(k);
  for (int64_t k = 0; k < run.count; ++k) {
    bounds(k + 2 * kAhead);
    fetch(k + kAhead);
    visit(run.first + k, rows[k] - block.first_pre);
  }
}

// Where in a row the entries of neuron `post` and those after it begin, if it is sorted; the same for every thread, always.
inline int32_t split(const Rows& rows, int32_t begin, int32_t end, int64_t post) {
  if (post <= 0) return begin;
  if (post >= rows.n_post) return end;
  const double share = static_cast<double>(post) / static_cast<double>(rows.n_post);
  return lower_bound(rows.indices, begin, end, post, begin + static_cast<int32_t>(share * (end - begin)));
}

// Whether all of indices[begin .. end) that are valid lie in the part.
inline bool all_in(const Rows& rows, int32_t begin, int32_t end, Part part) {
  const uint32_t first = static_cast<uint32_t>(part.first), size = static_cast<uint32_t>(part.size);
  const uint32_t n_post = static_cast<uint32_t>(rows.n_post);
  uint32_t astray = 0;
  for (int32_t j = begin; j < end; ++j) {  // without a branch, so that the compiler may use vectors
    const uint32_t post = static_cast<uint32_t>(rows.indices[j]);
    astray |= static_cast<uint32_t>(post - first >= size) & static_cast<uint32_t>(post < n_post);
  }
  return astray == 0;
}

template <typename T>
inline Part part_of(const Block<T>& block, int64_t i, int64_t parts) {
  return part_of(block.n_target, i, parts, block.first_post, block.rows.n_post);
}

// Finds what part i has of every row; false if there is more of it elsewhere in a row, or it has what belongs to others.
template <typename T>
bool find_part(Visits<T>& v, int64_t i, int64_t parts, const std::atomic<bool>& sorted) {
  bool good = true;
  for (const Run<T>* run = v.runs; run != v.runs + v.n_runs && good && sorted; ++run) {
    const Rows& rows = run->block->rows;
    const Part part = part_of(*run->block, i, parts);
    for_run(v, *run, part, false, [&](int64_t k, int64_t row) {
      if (!good) return;
      const int32_t begin = rows.begin(row), end = rows.end(row);
      const int32_t from = i == 0 ? begin : split(rows, begin, end, part.first);
      const int32_t to = i == parts - 1 ? end : split(rows, begin, end, part.first + part.size);
      if (i < parts - 1) v.ends[i][k] = to;
      good = all_in(rows, from, to, part);
    });
  }
  return good;
}

// Adds what was found.
template <typename T, bool kWeighted>
void add_part(const Visits<T>& v, const Run<T>& run, int64_t i, int64_t parts) {
  const Block<T>& block = *run.block;
  const Part part = part_of(block, i, parts);
  const T factor = kWeighted ? T{1} : *block.weights;
  for_run(v, run, part, kWeighted, [&](int64_t k, int64_t row) {
    const int32_t begin = i == 0 ? block.rows.begin(row) : v.ends[i - 1][k];
    const int32_t end = i == parts - 1 ? block.rows.end(row) : v.ends[i][k];
    add_segment<T, kWeighted>(block.rows.indices, begin, end, factor * run.spikes[v.rows[k]], part, block.weights,
                              block.out);
  });
}

// Delivers the rows that were collected, on one thread.
template <typename T>
void deliver_alone(const Visits<T>& v, T* fresh, int64_t n_fresh) {
  const Run<T>* end = v.runs + v.n_runs;
  for (const Run<T>* run = v.runs; run != end; ++run)
    for (int64_t k = 0; k < std::min(run->count, 2 * kAhead); ++k)
      prefetch_bounds(run->block->rows, v.rows[run->first + k] - run->block->first_pre);
  for (const Run<T>* run = v.runs; run != end; ++run) prefetch_first(*run->block, v.rows + run->first, run->count);
  if (fresh != nullptr) std::fill(fresh, fresh + n_fresh, T{0});
  for (const Run<T>* run = v.runs; run != end; ++run)
    deliver_block(*run->block, v.rows + run->first, run->count, run->spikes);
}

// `deliver_blocks` for several sources, by as many threads as there are parts; `share(run)` calls run(i) for every part, and
// returns when all are done. If `fresh` is given, it is the only target, and cleaned first. What one meeting of the threads
// delivers is shared if it is worth it: `worth` synaptic events.
template <typename T, typename Share>
void deliver_shared(const Source<T>* sources, int64_t n_sources, T* fresh, int64_t n_fresh, int64_t parts, Share share,
                    double worth = kWorthThreads) {
  Visits<T> v;
  const auto deliver = [&] {
    std::atomic<bool> sorted{parts > 1 && v.events >= worth};
    if (sorted) {
      share([&](int64_t i) {
        const Part part = part_of(n_fresh, i, parts, 0, n_fresh);
        if (fresh != nullptr) std::fill(fresh + part.first, fresh + part.first + part.size, T{0});
        if (!find_part(v, i, parts, sorted)) sorted = false;
      });
      fresh = nullptr;
      if (!sorted) parts = 1;  // nor will the other rows be
    }
    if (sorted) {
      share([&](int64_t i) {
        for (const Run<T>* run = v.runs; run != v.runs + v.n_runs; ++run)
          run->block->each ? add_part<T, true>(v, *run, i, parts) : add_part<T, false>(v, *run, i, parts);
      });
    } else {
      deliver_alone(v, fresh, n_fresh);
    }
    fresh = nullptr;
    v.n_runs = v.n = 0;
    v.events = 0;
  };
  for (const Source<T>* s = sources; s != sources + n_sources; ++s) {
    for_spikes(s->spikes, s->n, [&](const int32_t* spiking, int64_t found) {
      for_blocks(s->blocks, s->n_blocks, spiking, found, [&](const Block<T>& block, const int32_t* rows, int64_t count) {
        for (int64_t k = 0; k < count;) {
          k += v.take(block, s->spikes, rows + k, count - k);
          if (v.full()) deliver();
        }
      });
    });
  }
  if (v.n > 0 || fresh != nullptr) deliver();
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_SHARED_H_
