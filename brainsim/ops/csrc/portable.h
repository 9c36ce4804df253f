// What the loops on every kind of processor share: functions that a CUDA compiler builds for both sides, and macros.

#ifndef BRAINSIM_PORTABLE_H_
#define BRAINSIM_PORTABLE_H_

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define BRAINSIM_HD __host__ __device__
#else
#define BRAINSIM_HD
#endif

// Vector instructions are chosen at run time: what a function with a target calls has to become part of it.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define BRAINSIM_WIDE 1
#define BRAINSIM_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define BRAINSIM_WIDE 0
#define BRAINSIM_ALWAYS_INLINE inline
#endif

#if defined(__CUDA_ARCH__)
#define BRAINSIM_UNROLL _Pragma("unroll")
#elif (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define BRAINSIM_UNROLL _Pragma("GCC unroll 10")
#else
#define BRAINSIM_UNROLL
#endif

namespace brainsim {

// The bits of a number without its sign: zero for +0 and -0 only (so not for NaN).
BRAINSIM_HD inline uint32_t magnitude_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits & 0x7fffffffu;
}
BRAINSIM_HD inline uint64_t magnitude_bits(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits & 0x7fffffffffffffffull;
}

// `position`, or the nearest number from `low` to `high`; `low` if that lies above `high`.
BRAINSIM_HD inline int32_t clamped(int32_t position, int32_t low, int32_t high) {
  const int32_t below = position < high ? position : high;
  return below > low ? below : low;
}

}  // namespace brainsim

#endif  // BRAINSIM_PORTABLE_H_
