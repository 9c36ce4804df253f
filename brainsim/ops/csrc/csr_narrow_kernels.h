// Loops over compressed rows whose weights are bfloat16: half of what has to be read; sums are in float.

#ifndef BRAINSIM_CSR_NARROW_KERNELS_H_
#define BRAINSIM_CSR_NARROW_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "fan_out_kernels.h"

namespace brainsim {

// out[post] = sum over pre of spikes[pre] * weight(pre, post).
inline void narrow_scatter(const Rows& rows, const float* BRAINSIM_RESTRICT spikes,
                           const BFloat16* BRAINSIM_RESTRICT weights, float* BRAINSIM_RESTRICT out) {
  std::fill(out, out + rows.n_post, 0.0f);
  const auto fetch = [&](int64_t row) {
    const int32_t begin = rows.begin(row), size = rows.end(row) - begin;
    prefetch(rows.indices + begin, int64_t{4} * size);
    prefetch(weights + begin, int64_t{2} * size);
  };
  for_spikes(spikes, rows.n_pre, [&](const int32_t* spiking, int64_t n) {
    for (int64_t r = 0; r < std::min(n, kAhead); ++r) fetch(spiking[r]);
    for (int64_t r = 0; r < n; ++r) {
      if (r + kAhead < n) fetch(spiking[r + kAhead]);
      const float spike = spikes[spiking[r]];
      const int32_t end = rows.end(spiking[r]);
      for (int32_t j = rows.begin(spiking[r]); j < end; ++j)
        if (rows.valid(rows.indices[j])) out[rows.indices[j]] += widened<float>(weights[j]) * spike;
    }
  });
}

// out[pre] = sum over post of weight(pre, post) * values[post]: the transpose.
inline void narrow_gather(const Rows& rows, const float* BRAINSIM_RESTRICT values,
                          const BFloat16* BRAINSIM_RESTRICT weights, float* BRAINSIM_RESTRICT out) {
  for (int64_t row = 0; row < rows.n_pre; ++row) {
    const int32_t end = rows.end(row);
    float sum[4] = {0, 0, 0, 0};  // four chains of additions: one would wait for itself
    for (int32_t j = rows.begin(row); j < end; ++j)
      if (rows.valid(rows.indices[j])) sum[j & 3] += widened<float>(weights[j]) * values[rows.indices[j]];
    out[row] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

}  // namespace brainsim

#endif  // BRAINSIM_CSR_NARROW_KERNELS_H_
