// Kernels of the products with compressed rows and with rows of equal length: csr.cu, fan_out.cu and blocks.cu.
//
// `vector` counts through the G groups, with weights of their own, and the B vectors in each.

#ifndef BRAINSIM_CUDA_PRODUCTS_H_
#define BRAINSIM_CUDA_PRODUCTS_H_

#include "../rows.h"
#include "launch.h"

namespace brainsim::cuda {

// out[post] += spikes[pre] * weight(pre, post): `kLanes` threads a row, which do nothing where there is no spike. Weights
// are there for `each` synapse, or one for all; null: all are one.
template <typename T, typename W, typename Matrix>
__global__ void scatter_rows(int64_t n, Matrix m, int64_t batch, const T* spikes, const W* weights, bool each,
                             T* out) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, at = piece / kLanes, row = at % m.n_pre, vector = at / m.n_pre;
    const T spike = spikes[at];
    if (magnitude_bits(spike) == 0) continue;
    const W* w = weights == nullptr ? nullptr : weights + (vector / batch) * m.nnz;
    T* y = out + vector * m.n_post;
    const int64_t end = m.end(row);
    for (int64_t j = m.begin(row) + lane; j < end; j += kLanes)
      if (m.valid(m.indices[j])) atomicAdd(y + m.indices[j], w == nullptr ? spike : widened<T>(w[each ? j : 0]) * spike);
  }
}

// out[pre] += weight(pre, post) * values[post], where `relevant` (or everywhere, if it is null).
template <typename T, typename W>
__global__ void gather_rows(int64_t n, Rows m, int64_t batch, const T* values, const W* weights, const bool* relevant,
                            T* out) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kFewLanes, at = piece / kFewLanes, row = at % m.n_pre, vector = at / m.n_pre;
    if (relevant != nullptr && !relevant[at]) continue;
    const W* w = weights == nullptr ? nullptr : weights + (vector / batch) * m.nnz;
    const T* x = values + vector * m.n_post;
    const int64_t first = m.begin(row) + lane, end = m.end(row);
    T sum = 0;
    for (int64_t j = first; j < end; j += kFewLanes)
      if (m.valid(m.indices[j])) sum += w == nullptr ? x[m.indices[j]] : widened<T>(w[j]) * x[m.indices[j]];
    if (first < end) atomicAdd(out + at, sum);
  }
}

// sum[synapse] += spikes[pre] * values[post], for all vectors of a group. A synapse belongs to one thread.
template <typename T>
__global__ void accumulate_rows(int64_t n, Rows m, int64_t batch, const T* spikes, const T* values, T* sum) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, row = piece / kLanes % m.n_pre, group = piece / kLanes / m.n_pre;
    const int64_t end = m.end(row);
    for (int64_t b = group * batch; b < (group + 1) * batch; ++b) {
      const T spike = spikes[b * m.n_pre + row];
      if (magnitude_bits(spike) == 0) continue;
      for (int64_t j = m.begin(row) + lane; j < end; j += kLanes)
        if (m.valid(m.indices[j])) sum[group * m.nnz + j] += spike * values[b * m.n_post + m.indices[j]];
    }
  }
}

// The result of a product, which is cleared: one for each of `vectors`.
template <typename T, typename W, typename Matrix>
ffi::Error scatter(cudaStream_t stream, const Matrix& m, int64_t vectors, int64_t batch, const T* spikes,
                   const W* weights, const Any& out) {
  BRAINSIM_TRY(clear(stream, out));
  return launch(stream, scatter_rows<T, W, Matrix>, vectors * m.n_pre * kLanes, m, batch, spikes, weights, true,
                data<T>(out));
}

}  // namespace brainsim::cuda

#endif  // BRAINSIM_CUDA_PRODUCTS_H_
