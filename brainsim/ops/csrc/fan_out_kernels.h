// Loops over a sparse matrix whose rows all have the same number of synapses, so that no row starts have to be read.
//
// Weights may be narrower than the vectors: they are widened one by one. An index outside [0, n_post) contributes nothing.

#ifndef BRAINSIM_FAN_OUT_KERNELS_H_
#define BRAINSIM_FAN_OUT_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "csr_kernels.h"
#include "narrow.h"

namespace brainsim {

// out[post] = sum over pre of spikes[pre] * weight(pre, post); `weights` is not read if kWeighted is false.
template <typename T, typename W, bool kWeighted>
void fan_out_scatter(int64_t n_pre, int64_t k, int64_t n_post, const T* BRAINSIM_RESTRICT spikes,
                     const W* BRAINSIM_RESTRICT weights, const int32_t* BRAINSIM_RESTRICT indices,
                     T* BRAINSIM_RESTRICT out) {
  std::fill(out, out + n_post, T{0});
  const auto fetch = [&](int64_t row) {
    prefetch(indices + row * k, int64_t{4} * k);
    if (kWeighted) prefetch(weights + row * k, static_cast<int64_t>(sizeof(W)) * k);
  };
  for_spikes(spikes, n_pre, [&](const int32_t* rows, int64_t n) {
    for (int64_t r = 0; r < std::min(n, kAhead); ++r) fetch(rows[r]);
    for (int64_t r = 0; r < n; ++r) {
      if (r + kAhead < n) fetch(rows[r + kAhead]);
      const T spike = spikes[rows[r]];
      const int32_t* at = indices + rows[r] * k;
      const W* w = kWeighted ? weights + rows[r] * k : nullptr;
      const auto add = [&](uint32_t post, int64_t j) {
        if (post < static_cast<uint32_t>(n_post)) out[post] += kWeighted ? widened<T>(w[j]) * spike : spike;
      };
      for_synapses(at, 0, k, add);
    }
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_FAN_OUT_KERNELS_H_
