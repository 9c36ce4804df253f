// x (exp(z) - 1) / z, elementwise: the increment of an exponential integrator, with the work that each element needs.
//
// The result for an element depends on that element only, whatever stands beside it: where every |z| of a block is below
// 1/2, as in most blocks of most models, only the short series is computed, which is what each of them gets in any case.

#include <cstdint>
#include <cstring>

#include "handlers.h"
#include "xla/ffi/api/ffi.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define BRAINSIM_DISPATCH 1
#define BRAINSIM_INLINE inline __attribute__((always_inline))
#else
#define BRAINSIM_DISPATCH 0
#define BRAINSIM_INLINE inline
#endif

namespace brainsim {
namespace {

namespace ffi = xla::ffi;

// Blocks are vectors of the compilers that have them, else arrays of one: the same code, element by element.
template <typename T>
struct Format;

#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_VECTOR(type) type __attribute__((vector_size(32)))
#else
#define BRAINSIM_VECTOR(type) type
#endif

template <>
struct Format<float> {
  typedef BRAINSIM_VECTOR(float) Block;
  typedef BRAINSIM_VECTOR(int32_t) Bits;
  static constexpr int kMantissa = 23, kNearTerms = 8, kFarTerms = 7;
  static constexpr float kLargest = 87.0f, kMagic = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLogHigh = 0.693359375f, kLogLow = -2.12194440e-4f;
  static constexpr int32_t kOne = 0x3f800000, kMagnitude = 0x7fffffff, kNear = 0x3f000000;  // the bits of 1/2
};

template <>
struct Format<double> {
  typedef BRAINSIM_VECTOR(double) Block;
  typedef BRAINSIM_VECTOR(int64_t) Bits;
  static constexpr int kMantissa = 52, kNearTerms = 15, kFarTerms = 14;
  static constexpr double kLargest = 708.0, kMagic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLogHigh = 0.6931471803691238, kLogLow = 1.9082149292705877e-10;
  static constexpr int64_t kOne = 0x3ffll << 52, kMagnitude = 0x7fffffffffffffffll, kNear = 0x3fell << 52;
};

constexpr int64_t kBlocks = 4;

constexpr double kSeries[] = {1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
                              1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0,
                              1.0 / 87178291200.0, 1.0 / 1307674368000.0};

// 1 + z / 2! + z^2 / 3! + ..., kCount terms.
template <typename T, int kCount, typename Block>
BRAINSIM_INLINE Block series(Block z) {
  Block sum = z * static_cast<T>(kSeries[kCount - 1]) + static_cast<T>(kSeries[kCount - 2]);
  for (int i = kCount - 3; i >= 0; --i) sum = sum * z + static_cast<T>(kSeries[i]);
  return sum;
}

// exp(z) - 1 = 2^k (exp(r) - 1) + 2^k - 1 with z = k log 2 + r (Cody & Waite 1980), over z; for |z| >= 1/2.
template <typename T, typename Block, typename Bits>
BRAINSIM_INLINE Block far(Block z) {
  using F = Format<T>;
  const Block zero = {};
  Block bounded = z < -F::kLargest ? zero - F::kLargest : z;
  bounded = bounded > F::kLargest ? zero + F::kLargest : bounded;
  const Block shifted = bounded * static_cast<T>(1.4426950408889634) + F::kMagic;
  const Block k = shifted - F::kMagic;
  const Block r = (bounded - k * F::kLogHigh) - k * F::kLogLow;
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits << F::kMantissa) + F::kOne;
  Block power;
  std::memcpy(&power, &bits, sizeof(power));
  return (power * (r * series<T, F::kFarTerms>(r)) + (power - static_cast<T>(1))) / z;
}

template <typename T>
BRAINSIM_INLINE typename Format<T>::Block load(const T* values) {
  typename Format<T>::Block block;
  std::memcpy(&block, values, sizeof(block));
  return block;
}

// Lanes with |z| >= 1/2 have all their bits set; NaN is one of them, and stays NaN.
template <typename T>
BRAINSIM_INLINE typename Format<T>::Bits away(typename Format<T>::Block z) {
  typename Format<T>::Bits bits;
  std::memcpy(&bits, &z, sizeof(bits));
  return (bits & Format<T>::kMagnitude) >= Format<T>::kNear ? bits - bits - 1 : bits - bits;
}

template <typename T>
BRAINSIM_INLINE bool any(typename Format<T>::Bits bits) {
  uint64_t words[(sizeof(bits) + 7) / 8] = {0}, sum = 0;
  std::memcpy(words, &bits, sizeof(bits));
  for (const uint64_t word : words) sum |= word;
  return sum != 0;
}

// A few blocks at a time, so that the test costs little.
template <typename T>
BRAINSIM_INLINE void group(const T* z, const T* x, T* out) {
  using F = Format<T>;
  using Block = typename F::Block;
  constexpr int64_t kSize = sizeof(Block) / sizeof(T);
  typename F::Bits others = away<T>(load(z));
  for (int64_t b = 1; b < kBlocks; ++b) others |= away<T>(load(z + b * kSize));
  const bool mixed = any<T>(others);
  for (int64_t b = 0; b < kBlocks; ++b) {
    const Block zs = load(z + b * kSize);
    Block result = series<T, F::kNearTerms>(zs);
    if (mixed) result = away<T>(zs) ? far<T, Block, typename F::Bits>(zs) : result;
    result = result * load(x + b * kSize);
    std::memcpy(out + b * kSize, &result, sizeof(result));
  }
}

template <typename T>
BRAINSIM_INLINE void phi1_times(const T* z, const T* x, int64_t n, T* out) {
  constexpr int64_t kSize = kBlocks * sizeof(typename Format<T>::Block) / sizeof(T);
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) group<T>(z + i, x + i, out + i);
  if (i == n) return;
  T rest_z[kSize] = {0}, rest_x[kSize] = {0}, rest_out[kSize];
  std::memcpy(rest_z, z + i, (n - i) * sizeof(T));
  std::memcpy(rest_x, x + i, (n - i) * sizeof(T));
  group<T>(rest_z, rest_x, rest_out);
  std::memcpy(out + i, rest_out, (n - i) * sizeof(T));
}

template <typename T>
void portable(const T* z, const T* x, int64_t n, T* out) {
  phi1_times<T>(z, x, n, out);
}

#if BRAINSIM_DISPATCH
template <typename T>
__attribute__((target("avx2,fma"))) void wide(const T* z, const T* x, int64_t n, T* out) {
  phi1_times<T>(z, x, n, out);
}
#endif

template <typename T>
void run(const T* z, const T* x, int64_t n, T* out) {
#if BRAINSIM_DISPATCH
  static const bool has_wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_wide) return wide<T>(z, x, n, out);
#endif
  portable<T>(z, x, n, out);
}

ffi::Error phi1(ffi::AnyBuffer z, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> out) {
  const auto type = z.element_type();
  const auto n = static_cast<int64_t>(z.element_count());
  if (x.element_type() != type || out->element_type() != type || static_cast<int64_t>(x.element_count()) != n ||
      static_cast<int64_t>(out->element_count()) != n)
    return ffi::Error::InvalidArgument("brainsim phi1: all arrays must have the same size and type");
  if (type == ffi::F32) {
    run(static_cast<const float*>(z.untyped_data()), static_cast<const float*>(x.untyped_data()), n,
        static_cast<float*>(out->untyped_data()));
  } else if (type == ffi::F64) {
    run(static_cast<const double*>(z.untyped_data()), static_cast<const double*>(x.untyped_data()), n,
        static_cast<double*>(out->untyped_data()));
  } else {
    return ffi::Error::InvalidArgument("brainsim phi1: arrays must be float32 or float64");
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim

BRAINSIM_HANDLER(brainsim_phi1, phi1,
                 xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>())
