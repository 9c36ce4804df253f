// Loops over a sparse matrix in compressed-row form; nothing here knows of XLA.
//
// Row i is a presynaptic neuron, its entries are its synapses: indices[indptr[i] .. indptr[i + 1]) are the postsynaptic
// neurons. Whatever the index arrays hold, no loop leaves its buffers: row bounds are clamped to [0, nnz], and an entry
// whose index lies outside [0, n_post) contributes nothing (so such entries may serve as padding).

#ifndef BRAINSIM_CSR_KERNELS_H_
#define BRAINSIM_CSR_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_PREFETCH(address) __builtin_prefetch(address)
#define BRAINSIM_RESTRICT __restrict__
#else
#define BRAINSIM_PREFETCH(address)
#define BRAINSIM_RESTRICT
#endif

namespace brainsim {

struct Rows {
  const int32_t* indices;
  const int32_t* indptr;
  int64_t nnz, n_pre, n_post;

  int32_t begin(int64_t row) const { return clamp(indptr[row], 0); }
  int32_t end(int64_t row) const { return clamp(indptr[row + 1], begin(row)); }
  // A negative index becomes a huge unsigned one, so a single comparison checks both ends.
  bool valid(int32_t index) const { return static_cast<uint32_t>(index) < static_cast<uint32_t>(n_post); }

 private:
  int32_t clamp(int32_t position, int32_t low) const {
    return std::max(low, std::min(position, static_cast<int32_t>(nnz)));
  }
};

// A presynaptic neuron with a nonzero value, and where its synapses are.
template <typename T>
struct Event {
  int32_t begin, end;
  T value;
};

// Events are collected and delivered in chunks, on the stack: a kernel allocates nothing.
constexpr int64_t kChunk = 512;
constexpr int64_t kBlockBytes = 64;
constexpr int64_t kAhead = 2;           // rows between the one delivered and the one prefetched
constexpr int64_t kLine = 64;           // bytes of a cache line
constexpr int64_t kMaxLines = 16;       // of a long row, only the start: the hardware prefetcher has the rest

// True if all the values of a block are +0 or -0. Bit patterns, because they are OR-ed faster than floats are compared.
template <typename T>
inline bool all_zero(const T* block) {
  uint64_t words[kBlockBytes / 8];
  std::memcpy(words, block, kBlockBytes);
  uint64_t any = 0;
  for (uint64_t word : words) any |= word;
  constexpr uint64_t kNoSigns = sizeof(T) == 4 ? 0x7fffffff7fffffffull : 0x7fffffffffffffffull;
  return (any & kNoSigns) == 0;
}

template <typename T>
inline void prefetch_row(const int32_t* indices, const T* weights, const Event<T>& event) {
  const int64_t bytes = std::min<int64_t>(4 * int64_t{event.end - event.begin}, kMaxLines * kLine);
  const char* start = reinterpret_cast<const char*>(indices + event.begin);
  for (int64_t i = 0; i < bytes; i += kLine) BRAINSIM_PREFETCH(start + i);
  if (weights == nullptr) return;
  const char* first = reinterpret_cast<const char*>(weights + event.begin);
  const int64_t scale = sizeof(T) / 4;
  for (int64_t i = 0; i < bytes * scale; i += kLine) BRAINSIM_PREFETCH(first + i);
}

template <typename T, bool kWeighted>
inline void deliver_row(const Rows& rows, const Event<T>& event, const T* BRAINSIM_RESTRICT weights,
                        T* BRAINSIM_RESTRICT out) {
  const T value = event.value;
  for (int32_t j = event.begin; j < event.end; ++j) {
    const int32_t post = rows.indices[j];
    if (rows.valid(post)) out[post] += kWeighted ? weights[j] * value : value;
  }
}

template <typename T, bool kWeighted>
inline void deliver(const Rows& rows, const Event<T>* events, int64_t n, const T* weights, T* out) {
  for (int64_t k = 0; k < std::min(n, kAhead); ++k) prefetch_row(rows.indices, weights, events[k]);
  for (int64_t k = 0; k < n; ++k) {
    if (k + kAhead < n) prefetch_row(rows.indices, weights, events[k + kAhead]);
    deliver_row<T, kWeighted>(rows, events[k], weights, out);
  }
}

// out[post] = sum over pre of spikes[pre] * weight(pre, post). Work is proportional to the synapses of the neurons whose
// value is not zero, plus one pass over `spikes` and `out`.
template <typename T, bool kWeighted>
void scatter(const Rows& rows, const T* spikes, const T* weights, T* out) {
  std::fill(out, out + rows.n_post, T{0});
  constexpr int64_t kBlock = kBlockBytes / sizeof(T);
  Event<T> events[kChunk + kBlock];
  int64_t n = 0;
  const auto collect = [&](int64_t row) {
    // Written always and kept if not zero: no branch to mispredict.
    events[n] = {rows.begin(row), rows.end(row), spikes[row]};
    n += spikes[row] != T{0};
  };
  int64_t row = 0;
  for (; row + kBlock <= rows.n_pre; row += kBlock) {
    if (all_zero(spikes + row)) continue;
    for (int64_t k = 0; k < kBlock; ++k) collect(row + k);
    if (n >= kChunk) {
      deliver<T, kWeighted>(rows, events, n, weights, out);
      n = 0;
    }
  }
  for (; row < rows.n_pre; ++row) collect(row);
  deliver<T, kWeighted>(rows, events, n, weights, out);
}

// out[pre] = sum over post of weight(pre, post) * values[post]: the transpose of `scatter` with respect to the spikes.
template <typename T, bool kWeighted>
void gather(const Rows& rows, const T* BRAINSIM_RESTRICT values, const T* BRAINSIM_RESTRICT weights,
            T* BRAINSIM_RESTRICT out) {
  const auto term = [&](int32_t j) {
    const int32_t post = rows.indices[j];
    if (!rows.valid(post)) return T{0};
    return kWeighted ? weights[j] * values[post] : values[post];
  };
  for (int64_t row = 0; row < rows.n_pre; ++row) {
    const int32_t end = rows.end(row);
    T sum[4] = {0, 0, 0, 0};  // four chains of additions: one would wait for itself
    int32_t j = rows.begin(row);
    for (; j + 4 <= end; j += 4)
      for (int32_t k = 0; k < 4; ++k) sum[k] += term(j + k);
    for (; j < end; ++j) sum[0] += term(j);
    out[row] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

// out[synapse] = sum over the batch of spikes[b, pre] * values[b, post]: the transpose of both with respect to the weights.
template <typename T>
void outer(const Rows& rows, int64_t batch, const T* BRAINSIM_RESTRICT spikes, const T* BRAINSIM_RESTRICT values,
           T* BRAINSIM_RESTRICT out) {
  std::fill(out, out + rows.nnz, T{0});
  for (int64_t row = 0; row < rows.n_pre; ++row) {
    const int32_t begin = rows.begin(row), end = rows.end(row);
    for (int64_t b = 0; b < batch; ++b) {
      const T value = spikes[b * rows.n_pre + row];
      if (value == T{0}) continue;
      const T* v = values + b * rows.n_post;
      for (int32_t j = begin; j < end; ++j)
        if (rows.valid(rows.indices[j])) out[j] += value * v[rows.indices[j]];
    }
  }
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_KERNELS_H_
