// CUDA twins of what writes lists of spikes, in the order of the neurons: `compact` of arrivals.cc, events.cc and
// at_spikes.cc. The same operands, the same checks.
//
// A list has its place for each spike: the number of spikes before it. They are counted in chunks of neurons first, so that
// a spike adds up chunks, and the neurons before it in its own. Integers are counted, so every run gives the same.

#include "../arrivals_problem.h"
#include "../at_spikes_problem.h"
#include "../events_problem.h"
#include "launch.h"

namespace brainsim::cuda {
namespace {

constexpr int64_t kChunkSize = 256;

int64_t chunks(int64_t n) { return (n + kChunkSize - 1) / kChunkSize; }

template <typename T>
__global__ void count_spikes(int64_t size, int64_t n, int64_t n_chunks, const T* spikes, int32_t* counts) {
  for (int64_t i = first_piece(); i < size; i += all_threads())
    if (magnitude_bits(spikes[i]) != 0) atomicAdd(counts + i / n * n_chunks + i % n / kChunkSize, 1);
}

// The number of spikes of the neurons from .. to.
template <typename T>
__device__ int64_t spikes_between(const T* spikes, const int32_t* counts, int64_t from, int64_t to) {
  int64_t sum = 0;
  for (int64_t i = from; i < to;) {
    const bool whole = i % kChunkSize == 0 && i + kChunkSize <= to;
    sum += whole ? counts[i / kChunkSize] : magnitude_bits(spikes[i]) != 0;
    i += whole ? kChunkSize : 1;
  }
  return sum;
}

// Vectors [batch, n] of spikes, counted in chunks: in memory that is free again when the kernels have run.
template <typename T>
struct Counted {
  const T* spikes;
  int32_t* counts;
  int64_t batch, n, n_chunks;

  ffi::Error count(cudaStream_t stream, Scratch& scratch) {
    const size_t bytes = static_cast<size_t>(batch * n_chunks) * sizeof(int32_t);
    if (bytes == 0) return ffi::Error::Success();
    counts = static_cast<int32_t*>(scratch.allocate(bytes, alignof(int32_t)));
    if (counts == nullptr) return ffi::Error::ResourceExhausted("CUDA", "no memory left");
    BRAINSIM_TRY(checked(cudaMemsetAsync(counts, 0, bytes, stream)));
    return launch(stream, count_spikes<T>, batch * n, n, n_chunks, spikes, counts);
  }
};

template <typename T>
Counted<T> counted(const Any& spikes, int64_t batch, int64_t n) {
  return {data<const T>(spikes), nullptr, batch, n, chunks(n)};
}

// ---- hints

template <typename T>
__global__ void write_hints(int64_t size_of_all, Counted<T> c, int64_t size, int32_t* hints) {
  for (int64_t at = first_piece(); at < size_of_all; at += all_threads()) {
    if (magnitude_bits(c.spikes[at]) == 0) continue;
    const int64_t row = at / c.n, i = at % c.n;
    const int64_t place = 1 + spikes_between(c.spikes + row * c.n, c.counts + row * c.n_chunks, 0, i);
    if (place < size) hints[row * size + place] = static_cast<int32_t>(i);
  }
}

template <typename T>
__global__ void write_numbers(int64_t rows, Counted<T> c, int64_t size, int32_t* hints) {
  for (int64_t row = first_piece(); row < rows; row += all_threads())
    hints[row * size] =
        static_cast<int32_t>(spikes_between(c.spikes + row * c.n, c.counts + row * c.n_chunks, 0, c.n));
}

ffi::Error compact(cudaStream_t stream, Scratch& scratch, Any values, Out out) {
  arriving::Lists lists{};
  BRAINSIM_TRY(arriving::check_compact(values, *out, &lists));
  BRAINSIM_TRY(clear(stream, *out));
  if (lists.size == 0) return ffi::Error::Success();
  return typed(values, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    Counted<T> c = counted<T>(values, lists.rows, lists.n);
    BRAINSIM_TRY(c.count(stream, scratch));
    BRAINSIM_TRY(launch(stream, write_hints<T>, c.batch * c.n, c, lists.size, data<int32_t>(*out)));
    return launch(stream, write_numbers<T>, c.batch, c, lists.size, data<int32_t>(*out));
  });
}

// ---- lists of events

// Row i + 1 of a list is spike i; row 0, the number of spikes there were, stays until all have found their place.
template <typename T>
__device__ void append_one(const T* spikes, const int32_t* counts, int64_t i, int32_t step, const List& list) {
  const int64_t there = list.rows[0] > 0 ? list.rows[0] : 0;
  if (there >= list.capacity) return;
  const int64_t place = there + spikes_between(spikes, counts, list.first, i);
  if (place >= list.capacity) return;
  list.rows[2 * (place + 1)] = step;
  list.rows[2 * (place + 1) + 1] = static_cast<int32_t>(i - list.first);
}

template <typename T>
__device__ void add_number(const T* spikes, const int32_t* counts, const List& list) {
  const int64_t there = list.rows[0] > 0 ? list.rows[0] : 0;
  const int64_t number = there + spikes_between(spikes, counts, list.first, list.first + list.n);
  list.rows[0] = static_cast<int32_t>(number < INT32_MAX ? number : INT32_MAX);
}

template <typename T>
__global__ void append_to_batch(int64_t size, Counted<T> c, const int32_t* steps, int32_t* lists, int64_t capacity) {
  for (int64_t at = first_piece(); at < size; at += all_threads()) {
    if (magnitude_bits(c.spikes[at]) == 0) continue;
    const int64_t b = at / c.n;
    append_one(c.spikes + b * c.n, c.counts + b * c.n_chunks, at % c.n, steps[b],
               List{lists + 2 * b * (capacity + 1), capacity, 0, c.n});
  }
}

template <typename T>
__global__ void number_batch(int64_t batch, Counted<T> c, int32_t* lists, int64_t capacity) {
  for (int64_t b = first_piece(); b < batch; b += all_threads())
    add_number(c.spikes + b * c.n, c.counts + b * c.n_chunks,
               List{lists + 2 * b * (capacity + 1), capacity, 0, c.n});
}

ffi::Error append_events(cudaStream_t stream, Scratch& scratch, Any list, Any spikes, Any step, Out out) {
  listing::Problem p{};
  BRAINSIM_TRY(listing::check(list, spikes, step, *out, &p));
  BRAINSIM_TRY(alias(stream, list, *out));
  return typed(spikes, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    Counted<T> c = counted<T>(spikes, p.batch, p.n);
    BRAINSIM_TRY(c.count(stream, scratch));
    BRAINSIM_TRY(launch(stream, append_to_batch<T>, c.batch * c.n, c, data<const int32_t>(step), data<int32_t>(*out),
                        p.capacity));
    return launch(stream, number_batch<T>, c.batch, c, data<int32_t>(*out), p.capacity);
  });
}

// ---- everything that happens where there are spikes

struct Targets {
  Target target[spiking::kMost];
};
struct Lists {
  List list[spiking::kMost];
};

__device__ inline int32_t end_of(const uint32_t* step) { return static_cast<int32_t>(*step + 1); }

template <typename T>
__global__ void replace_entries(int64_t n, const T* spikes, const uint32_t* step, Targets targets, int64_t n_targets) {
  for (int64_t i = first_piece(); i < n; i += all_threads()) {
    if (magnitude_bits(spikes[i]) == 0) continue;
    for (int64_t t = 0; t < n_targets; ++t) {
      const Target& target = targets.target[t];
      const char* value = target.values + i * target.stride;
      if (target.size == 8) {
        reinterpret_cast<uint64_t*>(target.array)[i] = *reinterpret_cast<const uint64_t*>(value);
      } else {
        const uint32_t from = target.timed ? static_cast<uint32_t>(end_of(step)) : 0;  // unsigned: a sum may wrap
        reinterpret_cast<uint32_t*>(target.array)[i] = *reinterpret_cast<const uint32_t*>(value) + from;
      }
    }
  }
}

template <typename T>
__global__ void append_to_lists(int64_t n, Counted<T> c, const uint32_t* step, Lists lists, int64_t n_lists) {
  for (int64_t i = first_piece(); i < n; i += all_threads()) {
    if (magnitude_bits(c.spikes[i]) == 0) continue;
    for (int64_t l = 0; l < n_lists; ++l) {
      const List& list = lists.list[l];
      if (i >= list.first && i < list.first + list.n) append_one(c.spikes, c.counts, i, end_of(step), list);
    }
  }
}

template <typename T>
__global__ void number_lists(int64_t n_lists, Counted<T> c, Lists lists) {
  for (int64_t l = first_piece(); l < n_lists; l += all_threads()) add_number(c.spikes, c.counts, lists.list[l]);
}

ffi::Error at_spikes(cudaStream_t stream, Scratch& scratch, ffi::Operands args, ffi::Results rets,
                     int64_t targets, int64_t timed, ffi::Span parts) {
  spiking::Problem p{};
  const auto in_place = [&](const Any& operand, const Any& result) { return alias(stream, operand, result); };
  BRAINSIM_TRY(spiking::check(args, rets, targets, timed, parts, in_place, &p));
  const Any spikes = args[0], step = args[args.size() - 1];
  Targets all{};
  Lists lists{};
  std::copy(p.target, p.target + p.n_targets, all.target);
  std::copy(p.list, p.list + p.n_lists, lists.list);
  const auto n_targets = static_cast<int64_t>(p.n_targets), n_lists = static_cast<int64_t>(p.n_lists);
  return typed(spikes, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    const auto* now = data<const uint32_t>(step);
    if (n_targets > 0)
      BRAINSIM_TRY(launch(stream, replace_entries<T>, p.n, data<const T>(spikes), now, all, n_targets));
    if (n_lists == 0) return ffi::Error::Success();
    Counted<T> c = counted<T>(spikes, 1, p.n);
    BRAINSIM_TRY(c.count(stream, scratch));
    BRAINSIM_TRY(launch(stream, append_to_lists<T>, p.n, c, now, lists, n_lists));
    return launch(stream, number_lists<T>, n_lists, c, lists);
  });
}

}  // namespace
}  // namespace brainsim::cuda

BRAINSIM_HANDLER(brainsim_compact, cuda::compact)
BRAINSIM_HANDLER(brainsim_append_events, cuda::append_events)

BRAINSIM_HANDLER(brainsim_at_spikes, cuda::at_spikes, "targets", "timed", "parts")
