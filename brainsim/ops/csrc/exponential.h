// (exp(z) - 1) / z, of numbers or of vectors of them; see exponential_step.cc. Nothing here knows of XLA.

#ifndef BRAINSIM_EXPONENTIAL_H_
#define BRAINSIM_EXPONENTIAL_H_

#include <cstdint>
#include <cstring>

#include "portable.h"

namespace brainsim {

// The constants of a type, and the integers of the same size.
template <typename T>
struct Constants;

template <>
struct Constants<float> {
  using Bits = int32_t;
  static constexpr int kMantissa = 23, kNearTerms = 8, kFarTerms = 7;
  static constexpr float kLargest = 87.0f, kMagic = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLogHigh = 0.693359375f, kLogLow = -2.12194440e-4f;
  static constexpr int32_t kOne = 0x3f800000, kMagnitude = 0x7fffffff, kNear = 0x3f000000;  // the bits of 1/2
};

template <>
struct Constants<double> {
  using Bits = int64_t;
  static constexpr int kMantissa = 52, kNearTerms = 15, kFarTerms = 14;
  static constexpr double kLargest = 708.0, kMagic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLogHigh = 0.6931471803691238, kLogLow = 1.9082149292705877e-10;
  static constexpr int64_t kOne = 0x3ffll << 52, kMagnitude = 0x7fffffffffffffffll, kNear = 0x3fell << 52;
};

#if defined(__CUDACC__)
static __constant__ const
#else
constexpr
#endif
    double kSeries[] = {1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
                        1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0, 1.0 / 87178291200.0,
                        1.0 / 1307674368000.0};

#if defined(__CUDACC__)
#define BRAINSIM_EXPONENTIAL __device__ inline
#else
#define BRAINSIM_EXPONENTIAL BRAINSIM_ALWAYS_INLINE
#endif

// 1 + z / 2! + z^2 / 3! + ..., kCount terms.
template <typename T, int kCount, typename Block>
BRAINSIM_EXPONENTIAL Block series(Block z) {
  Block sum = z * static_cast<T>(kSeries[kCount - 1]) + static_cast<T>(kSeries[kCount - 2]);
  for (int i = kCount - 3; i >= 0; --i) sum = sum * z + static_cast<T>(kSeries[i]);
  return sum;
}

// exp(z) - 1 = 2^k (exp(r) - 1) + 2^k - 1 with z = k log 2 + r (Cody & Waite 1980), over z; for |z| >= 1/2.
template <typename T, typename Block, typename Bits>
BRAINSIM_EXPONENTIAL Block far(Block z) {
  using C = Constants<T>;
  const Block zero = {};
  Block bounded = z < -C::kLargest ? zero - C::kLargest : z;
  bounded = bounded > C::kLargest ? zero + C::kLargest : bounded;
  const Block shifted = bounded * static_cast<T>(1.4426950408889634) + C::kMagic;
  const Block k = shifted - C::kMagic;
  const Block r = (bounded - k * C::kLogHigh) - k * C::kLogLow;
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << C::kMantissa) + C::kOne;
  Block power;
  std::memcpy(&power, &bits, sizeof(power));
  return (power * (r * series<T, C::kFarTerms>(r)) + (power - static_cast<T>(1))) / z;
}

// Lanes with |z| >= 1/2 have all their bits set; NaN is one of them, and stays NaN.
template <typename T, typename Block, typename Bits>
BRAINSIM_EXPONENTIAL Bits away(Block z) {
  Bits bits;
  std::memcpy(&bits, &z, sizeof(bits));
  return (bits & Constants<T>::kMagnitude) >= Constants<T>::kNear ? bits - bits - 1 : bits - bits;
}

}  // namespace brainsim

#endif  // BRAINSIM_EXPONENTIAL_H_
