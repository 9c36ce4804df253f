// The sizes of a two-dimensional convolution, and what a pixel reaches. Nothing here knows of XLA.

#ifndef BRAINSIM_CONVOLUTION_H_
#define BRAINSIM_CONVOLUTION_H_

#include <cstdint>

#include "portable.h"

namespace brainsim {

// Images are [height, width, channel], kernels [height, width, channel in, channel out].
struct Convolution {
  int64_t height, width, channels, kernel_height, kernel_width, stride_y, stride_x, top, left, out_height, out_width,
      out_channels;

  BRAINSIM_HD int64_t in_size() const { return height * width * channels; }
  BRAINSIM_HD int64_t out_size() const { return out_height * out_width * out_channels; }
  BRAINSIM_HD int64_t weight_size() const { return kernel_height * kernel_width * channels * out_channels; }
};

// The rows, or columns, of the result that a pixel reaches: those with 0 <= reach - stride * o < size of the kernel.
struct Reach {
  int64_t reach, first, last;

  BRAINSIM_HD Reach(int64_t pixel, int64_t before, int64_t size, int64_t stride, int64_t n_out)
      : reach(pixel + before),
        first(reach < size ? int64_t{0} : (reach - size) / stride + 1),
        last(reach / stride < n_out ? reach / stride : n_out - 1) {}
};

}  // namespace brainsim

#endif  // BRAINSIM_CONVOLUTION_H_
