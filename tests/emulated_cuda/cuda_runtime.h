// Stands in for CUDA's header where its compiler, or a GPU, is not there: kernels become plain functions, which `emulate`
// calls for every thread of every block, one after another. For tests only: what it cannot show is what only threads that
// run at once can do, races. Memory is the CPU's, so that XLA's CPU runtime can call the handlers of the CUDA twins.

#ifndef BRAINSIM_TESTS_EMULATED_CUDA_H_
#define BRAINSIM_TESTS_EMULATED_CUDA_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#define __global__
#define __device__
#define __host__

struct EmulatedIndex {
  unsigned x = 0;
};
inline thread_local EmulatedIndex blockIdx, threadIdx, blockDim, gridDim;

template <typename T>
T atomicAdd(T* at, T value) {
  const T old = *at;
  *at = old + value;
  return old;
}

struct EmulatedStream {};
using cudaStream_t = EmulatedStream*;
template <typename Kernel>
void emulate(cudaStream_t, unsigned blocks, unsigned threads, Kernel kernel) {
  gridDim.x = blocks, blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel();
}

enum cudaError_t { cudaSuccess };
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice };

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

// What XLA's runtime hands to a handler on a GPU, and not on a CPU: a stream, and memory for as long as a call lasts.
template <typename Reader>
void read(Reader&, cudaStream_t* stream) {
  *stream = nullptr;
}

class EmulatedScratch {
 public:
  void* allocate(size_t bytes, size_t) {
    memory_.reset(new char[bytes]);
    std::memset(memory_.get(), 0x5a, bytes);  // nobody promises zeros
    return memory_.get();
  }

 private:
  std::unique_ptr<char[]> memory_;
};

template <typename Reader>
void read(Reader&, EmulatedScratch*) {}

#endif  // BRAINSIM_TESTS_EMULATED_CUDA_H_
