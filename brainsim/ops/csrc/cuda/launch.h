// How the CUDA twins of the handlers run their kernels.
//
// A kernel does `n` equal pieces of work, as many threads as there are taking one after another: no thread waits for
// another, so that a kernel is also a plain function. tests/emulated_cuda/ makes use of that: there the very same sources
// are compiled without CUDA, and run on a CPU. Sums of several threads are made with atomic additions: their order, and so
// the last bits of a sum of floating-point numbers, may differ from run to run.

#ifndef BRAINSIM_CUDA_LAUNCH_H_
#define BRAINSIM_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "../arrays.h"
#include "../handlers.h"

#if defined(__CUDACC__)
namespace brainsim::ffi {

inline void read(Reader& from, cudaStream_t* x) {
  const Context context = from.context();
  auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_Stream_Get_Args);
  a.ctx = context.run;
  if (!context.done(context.api->XLA_FFI_Stream_Get(&a))) return from.missing(), void();
  *x = static_cast<cudaStream_t>(a.stream);
}

}  // namespace brainsim::ffi
#endif

namespace brainsim::cuda {

#if !defined(__CUDACC__)
using Scratch = EmulatedScratch;
#else
// Memory of the GPU for as long as a call lasts.
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(ffi::Context context) : context_(context) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(Scratch&& other) {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Scratch() {
    if (data_ == nullptr) return;
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_DeviceMemory_Free_Args);
    a.ctx = context_.run, a.size = size_, a.data = data_;
    context_.done(context_.api->XLA_FFI_DeviceMemory_Free(&a));
  }

  // Once at most. Null if there is no memory left.
  void* allocate(size_t size, size_t alignment) {
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_DeviceMemory_Allocate_Args);
    a.ctx = context_.run, a.size = size, a.alignment = alignment;
    if (!context_.done(context_.api->XLA_FFI_DeviceMemory_Allocate(&a))) return nullptr;
    size_ = size;
    return data_ = a.data;
  }

 private:
  ffi::Context context_{};
  void* data_ = nullptr;
  size_t size_ = 0;
};

inline void read(ffi::Reader& from, Scratch* x) { *x = Scratch(from.context()); }
#endif

constexpr int64_t kLanes = 32;    // threads that share a row: neighbours read neighbouring synapses
constexpr int64_t kFewLanes = 8;  // as many as fill a transfer from memory, where each has to add to the same sum
constexpr int64_t kThreads = 128, kMostBlocks = int64_t{1} << 20;

__device__ inline int64_t first_piece() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t all_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

inline ffi::Error checked(cudaError_t error) {
  if (error == cudaSuccess) return ffi::Error::Success();
  return ffi::Error::Internal("CUDA", cudaGetErrorString(error));
}

// Runs kernel(n, arguments...) on the stream, unless there is nothing to do.
template <typename... Parameters, typename... Arguments>
ffi::Error launch(cudaStream_t stream, void (*kernel)(int64_t, Parameters...), int64_t n, Arguments... arguments) {
  if (n <= 0) return ffi::Error::Success();
  const auto blocks = static_cast<unsigned>(std::min((n - 1) / kThreads + 1, kMostBlocks));
#if defined(__CUDACC__)
  kernel<<<blocks, static_cast<unsigned>(kThreads), 0, stream>>>(n, static_cast<Parameters>(arguments)...);
#else
  emulate(stream, blocks, static_cast<unsigned>(kThreads), [&] { kernel(n, static_cast<Parameters>(arguments)...); });
#endif
  return checked(cudaGetLastError());
}

inline ffi::Error clear(cudaStream_t stream, const Any& array) {
  if (array.size_bytes() == 0) return ffi::Error::Success();
  return checked(cudaMemsetAsync(array.untyped_data(), 0, array.size_bytes(), stream));
}

// The result in place of the operand: nothing to do, unless XLA still needs the operand.
inline ffi::Error alias(cudaStream_t stream, const Any& operand, const Any& result) {
  if (operand.untyped_data() == result.untyped_data() || operand.size_bytes() == 0) return ffi::Error::Success();
  return checked(cudaMemcpyAsync(result.untyped_data(), operand.untyped_data(), operand.size_bytes(),
                                 cudaMemcpyDeviceToDevice, stream));
}

}  // namespace brainsim::cuda

// Leaves the function with an error, if there is one.
#define BRAINSIM_TRY(expression) \
  if (brainsim::ffi::Error error = (expression); error.failure()) return error

#endif  // BRAINSIM_CUDA_LAUNCH_H_
