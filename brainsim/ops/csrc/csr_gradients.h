// The loops of csr_gradients.cc; nothing here knows of XLA. As in csr_kernels.h, no loop leaves its buffers.

#ifndef BRAINSIM_CSR_GRADIENTS_H_
#define BRAINSIM_CSR_GRADIENTS_H_

#include <algorithm>
#include <cstdint>

#include "csr_kernels.h"

namespace brainsim {

// Calls `visit(row)` for the rows where `wanted(row)`, in order, while those that follow are on their way from memory.
template <typename T, bool kWeighted, typename Wanted, typename Visit>
void for_rows(const Rows& rows, const T* weights, Wanted wanted, Visit visit) {
  int32_t chosen[kChunk];
  for (int64_t row = 0; row < rows.n_pre;) {
    int64_t n = 0;
    for (; row < rows.n_pre && n < kChunk; ++row) {  // written always and kept if wanted: no branch to mispredict
      chosen[n] = static_cast<int32_t>(row);
      n += wanted(row) ? 1 : 0;
    }
    for (int64_t k = 0; k < std::min(n, kAhead); ++k) prefetch_row<T, kWeighted>(rows, weights, chosen[k]);
    for (int64_t k = 0; k < n; ++k) {
      if (k + kAhead < n) prefetch_row<T, kWeighted>(rows, weights, chosen[k + kAhead]);
      visit(chosen[k]);
    }
  }
}

// `gather` of the rows that are relevant; the others are zero.
template <typename T, bool kWeighted>
void gather_relevant(const Rows& rows, const T* BRAINSIM_RESTRICT values, const T* BRAINSIM_RESTRICT weights,
                     const bool* BRAINSIM_RESTRICT relevant, T* BRAINSIM_RESTRICT out) {
  std::fill(out, out + rows.n_pre, T{0});
  for_rows<T, kWeighted>(
      rows, weights, [&](int64_t row) { return relevant[row]; },
      [&](int64_t row) { out[row] = gather_row<T, kWeighted>(rows, row, values, weights); });
}

// sum[synapse] += spikes[pre] * values[post]: `outer`, added to what is there already.
template <typename T>
void accumulate_outer(const Rows& rows, const T* BRAINSIM_RESTRICT spikes, const T* BRAINSIM_RESTRICT values,
                      T* BRAINSIM_RESTRICT sum) {
  for_rows<T, true>(
      rows, sum, [&](int64_t row) { return magnitude_bits(spikes[row]) != 0; },
      [&](int64_t row) {
        for (int32_t j = rows.begin(row), end = rows.end(row); j < end; ++j)
          if (rows.valid(rows.indices[j])) sum[j] += spikes[row] * values[rows.indices[j]];
      });
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_GRADIENTS_H_
