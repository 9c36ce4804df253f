// Loops over a sparse matrix in compressed-row form; nothing here knows of XLA.
//
// Whatever the index arrays hold, no loop leaves its buffers: see rows.h.

#ifndef BRAINSIM_CSR_KERNELS_H_
#define BRAINSIM_CSR_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "restrict.h"
#include "rows.h"
#include "search.h"

namespace brainsim {

constexpr int64_t kAhead = 8;      // rows between the one delivered and the one prefetched
constexpr int64_t kLine = 64;      // bytes of a cache line
constexpr int64_t kMaxLines = 16;  // of a long row, only the start: the hardware prefetcher has the rest

// GCC holds a function that does nothing but prefetch for one without effects, and drops the calls of it that it does not
// inline: the empty statement is an effect.
inline void prefetch_line(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(address);
  __asm__ volatile("");
#else
  static_cast<void>(address);
#endif
}

inline void prefetch(const void* first, int64_t bytes) {
  const char* address = static_cast<const char*>(first);
  const int64_t size = std::min(bytes, kMaxLines * kLine);
  for (int64_t i = 0; i < size; i += kLine) prefetch_line(address + i);
  if (size > 0) prefetch_line(address + size - 1);  // rows begin anywhere in a line, and end in one line more
}

// Where a row begins has to be known before the row can be asked for.
inline void prefetch_bounds(const Rows& rows, int64_t row) { prefetch_line(rows.indptr + row); }

template <typename T, bool kWeighted>
inline void prefetch_row(const Rows& rows, const T* weights, int64_t row) {
  const int32_t begin = rows.begin(row), size = rows.end(row) - begin;
  prefetch(rows.indices + begin, int64_t{4} * size);
  if (kWeighted) prefetch(weights + begin, static_cast<int64_t>(sizeof(T)) * size);
}

// Calls add(index, j) for the entries begin .. end. Loops that add are bound by their loads and stores, so two indices come
// with each load.
template <typename Add>
inline void for_synapses(const int32_t* indices, int64_t begin, int64_t end, Add add) {  // 64 bits: j + 4 may not overflow
  int64_t j = begin;
  for (; j + 4 <= end; j += 4) {
    uint64_t pairs[2];
    std::memcpy(pairs, indices + j, sizeof(pairs));
    for (int32_t k = 0; k < 2; ++k) {
      add(static_cast<uint32_t>(pairs[k]), j + 2 * k);
      add(static_cast<uint32_t>(pairs[k] >> 32), j + 2 * k + 1);
    }
  }
  for (; j < end; ++j) add(static_cast<uint32_t>(indices[j]), j);
}

template <typename T, bool kWeighted>
inline void deliver_row(const Rows& rows, int64_t row, T spike, const T* BRAINSIM_RESTRICT weights,
                        T* BRAINSIM_RESTRICT out) {
  const auto add = [&](uint32_t post, int64_t j) {
    if (post < static_cast<uint32_t>(rows.n_post)) out[post] += kWeighted ? weights[j] * spike : spike;
  };
  for_synapses(rows.indices, rows.begin(row), rows.end(row), add);
}

// Adds to `out` what the rows in the list `spiking` cause, less `first`, while those that follow come from memory. Each
// synapse counts `factor` times.
template <typename T, bool kWeighted>
inline void deliver_rows(const Rows& rows, const int32_t* spiking, int64_t n, int64_t first,
                         const T* BRAINSIM_RESTRICT spikes, const T* weights, T factor, T* out) {
  for (int64_t k = 0; k < n; ++k) {
    if (k + 2 * kAhead < n) prefetch_bounds(rows, spiking[k + 2 * kAhead] - first);
    if (k + kAhead < n) prefetch_row<T, kWeighted>(rows, weights, spiking[k + kAhead] - first);
    deliver_row<T, kWeighted>(rows, spiking[k] - first, factor * spikes[spiking[k]], weights, out);
  }
}

// out[post] = sum over pre of spikes[pre] * weight(pre, post). Work is proportional to the synapses of the neurons whose
// value is not zero, plus one pass over `spikes` and `out`.
template <typename T, bool kWeighted>
void scatter(const Rows& rows, const T* BRAINSIM_RESTRICT spikes, const T* BRAINSIM_RESTRICT weights,
             T* BRAINSIM_RESTRICT out) {
  bool clean = false;
  for_spikes(spikes, rows.n_pre, [&](const int32_t* spiking, int64_t n) {
    // The first rows come from memory while `out` is cleaned.
    for (int64_t k = 0; k < std::min(n, 2 * kAhead); ++k) prefetch_bounds(rows, spiking[k]);
    for (int64_t k = 0; k < std::min(n, kAhead); ++k) prefetch_row<T, kWeighted>(rows, weights, spiking[k]);
    if (!clean) std::fill(out, out + rows.n_post, T{0});
    clean = true;
    deliver_rows<T, kWeighted>(rows, spiking, n, 0, spikes, weights, T{1}, out);
  });
}

// The sum over post of weight(row, post) * values[post].
template <typename T, bool kWeighted>
inline T gather_row(const Rows& rows, int64_t row, const T* BRAINSIM_RESTRICT values,
                    const T* BRAINSIM_RESTRICT weights) {
  const auto term = [&](int64_t j) {
    const int32_t post = rows.indices[j];
    if (!rows.valid(post)) return T{0};
    return kWeighted ? weights[j] * values[post] : values[post];
  };
  const int32_t end = rows.end(row);
  T sum[4] = {0, 0, 0, 0};  // four chains of additions: one would wait for itself
  int64_t j = rows.begin(row);  // 64 bits: j + 4 may not overflow
  for (; j + 4 <= end; j += 4)
    for (int32_t k = 0; k < 4; ++k) sum[k] += term(j + k);
  for (; j < end; ++j) sum[0] += term(j);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// out[pre] = sum over post of weight(pre, post) * values[post]: the transpose of `scatter` with respect to the spikes,
// for presynaptic neurons first .. last.
template <typename T, bool kWeighted>
void gather(const Rows& rows, int64_t first, int64_t last, const T* BRAINSIM_RESTRICT values, const T* BRAINSIM_RESTRICT weights,
            T* BRAINSIM_RESTRICT out) {
  for (int64_t row = first; row < last; ++row) out[row] = gather_row<T, kWeighted>(rows, row, values, weights);
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
