// CUDA twins of dense.cc: the same operands, the same checks.

#include "../dense_problem.h"
#include "launch.h"

namespace brainsim::dense {
namespace {

using namespace cuda;

constexpr int64_t kRowsEach = 128;  // looked at by one thread, which adds one column of those that spike

// out[post] += sum over kRowsEach rows of spikes[pre] * weights[pre, post]; neighbours take neighbouring columns.
template <typename T, typename W>
__global__ void add_columns(int64_t n, Problem p, const T* spikes, const W* weights, T* out) {
  const int64_t parts = (p.in_size - 1) / kRowsEach + 1;
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t post = piece % p.out_size, part = piece / p.out_size % parts, vector = piece / p.out_size / parts;
    const T* x = spikes + vector * p.in_size;
    const W* w = weights + (vector / p.batch) * p.weight_size + post;
    const int64_t end = (part + 1) * kRowsEach < p.in_size ? (part + 1) * kRowsEach : p.in_size;
    T sum = 0;
    bool any = false;
    for (int64_t pre = part * kRowsEach; pre < end; ++pre) {
      if (magnitude_bits(x[pre]) == 0) continue;
      sum += widened<T>(w[pre * p.out_size]) * x[pre];
      any = true;
    }
    if (any) atomicAdd(out + vector * p.out_size + post, sum);
  }
}

// What a pixel that is not zero adds to the pixels of the result that it reaches: `kLanes` threads a pixel.
template <typename T, typename W>
__global__ void add_pixels(int64_t n, Problem p, Convolution c, const T* images, const W* weights, T* out) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, at = piece / kLanes, vector = at / p.in_size, pixel = at % p.in_size;
    const T spike = images[at];
    if (magnitude_bits(spike) == 0) continue;
    const int64_t channel = pixel % c.channels, place = pixel / c.channels;
    const Reach y(place / c.width, c.top, c.kernel_height, c.stride_y, c.out_height);
    const Reach x(place % c.width, c.left, c.kernel_width, c.stride_x, c.out_width);
    if (y.last < y.first || x.last < x.first) continue;
    const int64_t width = x.last - x.first + 1, size = (y.last - y.first + 1) * width * c.out_channels;
    const W* w = weights + (vector / p.batch) * p.weight_size;
    for (int64_t i = lane; i < size; i += kLanes) {
      const int64_t k = i % c.out_channels, ox = x.first + i / c.out_channels % width;
      const int64_t oy = y.first + i / c.out_channels / width;
      const int64_t ky = y.reach - oy * c.stride_y, kx = x.reach - ox * c.stride_x;
      const W weight = w[((ky * c.kernel_width + kx) * c.channels + channel) * c.out_channels + k];
      atomicAdd(out + vector * p.out_size + (oy * c.out_width + ox) * c.out_channels + k, widened<T>(weight) * spike);
    }
  }
}

ffi::Error matrix(cudaStream_t stream, Any spikes, Any weights, Out out) {
  Problem p{};
  BRAINSIM_TRY(check_matrix(spikes, weights, *out, &p));
  BRAINSIM_TRY(clear(stream, *out));
  if (p.in_size == 0) return ffi::Error::Success();
  return typed(spikes, &weights, [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    const int64_t parts = (p.in_size - 1) / kRowsEach + 1;
    return launch(stream, add_columns<T, W>, p.vectors() * parts * p.out_size, p, data<const T>(spikes),
                  data<const W>(weights), data<T>(*out));
  });
}

ffi::Error convolution(cudaStream_t stream, Any images, Any weights, ffi::Span sizes, Out out) {
  Problem p{};
  Convolution c{};
  BRAINSIM_TRY(check_convolution(images, weights, sizes, *out, &c, &p));
  BRAINSIM_TRY(clear(stream, *out));
  return typed(images, &weights, [&](auto zero, auto weight) {
    using T = decltype(zero);
    using W = decltype(weight);
    return launch(stream, add_pixels<T, W>, p.vectors() * p.in_size * kLanes, p, c, data<const T>(images),
                  data<const W>(weights), data<T>(*out));
  });
}

}  // namespace
}  // namespace brainsim::dense

BRAINSIM_HANDLER(brainsim_dense_scatter, dense::matrix)
BRAINSIM_HANDLER(brainsim_convolution_scatter, dense::convolution, "sizes")
