// Event-driven products with a dense matrix and with a two-dimensional convolution: only what spikes is added.

#ifndef BRAINSIM_DENSE_KERNELS_H_
#define BRAINSIM_DENSE_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "convolution.h"
#include "fan_out_kernels.h"

namespace brainsim {

constexpr int64_t kColumns = 2048;  // of the result, kept in the first cache while rows are added
constexpr int64_t kTogether = 4;    // rows added with one pass over them

// out[post] = sum over pre of spikes[pre] * weights[pre, post].
template <typename T, typename W>
inline void dense_scatter(int64_t n_pre, int64_t n_post, const T* BRAINSIM_RESTRICT spikes,
                          const W* BRAINSIM_RESTRICT weights, T* BRAINSIM_RESTRICT out) {
  std::fill(out, out + n_post, T{0});
  for_spikes(spikes, n_pre, [&](const int32_t* rows, int64_t n) {
    for (int64_t start = 0; start < n_post; start += kColumns) {
      const int64_t size = std::min(kColumns, n_post - start);
      T* BRAINSIM_RESTRICT y = out + start;
      const auto row = [&](int64_t r) { return weights + rows[r] * n_post + start; };
      int64_t r = 0;
      for (; r + kTogether <= n; r += kTogether) {
        const W *w0 = row(r), *w1 = row(r + 1), *w2 = row(r + 2), *w3 = row(r + 3);
        const T x0 = spikes[rows[r]], x1 = spikes[rows[r + 1]], x2 = spikes[rows[r + 2]], x3 = spikes[rows[r + 3]];
        for (int64_t j = 0; j < size; ++j)
          y[j] += (widened<T>(w0[j]) * x0 + widened<T>(w1[j]) * x1) + (widened<T>(w2[j]) * x2 + widened<T>(w3[j]) * x3);
      }
      for (; r < n; ++r) {
        const W* w = row(r);
        const T x = spikes[rows[r]];
        for (int64_t j = 0; j < size; ++j) y[j] += widened<T>(w[j]) * x;
      }
    }
  });
}

// out[oy, ox, :] = sum over (ky, kx, c) of image[oy * stride_y - top + ky, ox * stride_x - left + kx, c] * weights[ky, kx, c, :].
template <typename T, typename W>
inline void convolution_scatter(const Convolution& c, const T* BRAINSIM_RESTRICT image,
                                const W* BRAINSIM_RESTRICT weights, T* BRAINSIM_RESTRICT out) {
  std::fill(out, out + c.out_size(), T{0});
  for_spikes(image, c.in_size(), [&](const int32_t* pixels, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t channel = pixels[i] % c.channels, at = pixels[i] / c.channels;
      const Reach y_reach(at / c.width, c.top, c.kernel_height, c.stride_y, c.out_height);
      const Reach x_reach(at % c.width, c.left, c.kernel_width, c.stride_x, c.out_width);
      const T spike = image[pixels[i]];
      for (int64_t oy = y_reach.first; oy <= y_reach.last; ++oy) {
        for (int64_t ox = x_reach.first; ox <= x_reach.last; ++ox) {
          const int64_t ky = y_reach.reach - oy * c.stride_y, kx = x_reach.reach - ox * c.stride_x;
          const W* BRAINSIM_RESTRICT w = weights + ((ky * c.kernel_width + kx) * c.channels + channel) * c.out_channels;
          T* BRAINSIM_RESTRICT y = out + (oy * c.out_width + ox) * c.out_channels;
          for (int64_t k = 0; k < c.out_channels; ++k) y[k] += widened<T>(w[k]) * spike;
        }
      }
    }
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_DENSE_KERNELS_H_
