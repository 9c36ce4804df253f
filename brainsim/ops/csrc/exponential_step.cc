// y + x (exp(z) - 1) / z, elementwise: a step of an exponential integrator, with the work that each element needs.
//
// z and x come as pairs, the parts of a complex number: XLA computes both in one loop then, and its executor runs few
// loops much faster than many.
//
// The result for an element depends on that element only, whatever stands beside it: where every |z| of a block is below
// 1/2, as in most blocks of most models, only the short series is computed, which is what each of them gets in any case.

#include <cstdint>
#include <cstring>

#include "handlers.h"
#include "xla/ffi/api/ffi.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define BRAINSIM_DISPATCH 1
#define BRAINSIM_INLINE inline __attribute__((always_inline))
#else
#define BRAINSIM_DISPATCH 0
#define BRAINSIM_INLINE inline
#endif

namespace brainsim {
namespace {

namespace ffi = xla::ffi;

// Blocks are vectors of the compilers that have them, else numbers: the same code, element by element.
#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_VECTOR(type) type __attribute__((vector_size(32)))
#else
#define BRAINSIM_VECTOR(type) type
#endif

template <typename T>
struct Format;

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

template <typename Block, typename T>
BRAINSIM_INLINE Block load(const T* values) {
  Block block;
  std::memcpy(&block, values, sizeof(block));
  return block;
}

// Lanes with |z| >= 1/2 have all their bits set; NaN is one of them, and stays NaN.
template <typename T, typename Block, typename Bits>
BRAINSIM_INLINE Bits away(Block z) {
  Bits bits;
  std::memcpy(&bits, &z, sizeof(bits));
  return (bits & Format<T>::kMagnitude) >= Format<T>::kNear ? bits - bits - 1 : bits - bits;
}

template <typename Bits>
BRAINSIM_INLINE bool any(Bits bits) {
  uint64_t words[(sizeof(bits) + 7) / 8] = {0}, sum = 0;
  std::memcpy(words, &bits, sizeof(bits));
  for (const uint64_t word : words) sum |= word;
  return sum != 0;
}

// A few blocks at a time, so that the test costs little. `out` may be `y`.
template <typename T, typename Block, typename Bits>
BRAINSIM_INLINE void group(const T* y, const T* z, const T* x, T* out) {
  constexpr int64_t kSize = sizeof(Block) / sizeof(T);
  Bits others = away<T, Block, Bits>(load<Block>(z));
  for (int64_t b = 1; b < kBlocks; ++b) others |= away<T, Block, Bits>(load<Block>(z + b * kSize));
  const bool mixed = any(others);
  for (int64_t b = 0; b < kBlocks; ++b) {
    const Block zs = load<Block>(z + b * kSize);
    Block result = series<T, Format<T>::kNearTerms>(zs);
    if (mixed) result = away<T, Block, Bits>(zs) ? far<T, Block, Bits>(zs) : result;
    result = load<Block>(y + b * kSize) + result * load<Block>(x + b * kSize);
    std::memcpy(out + b * kSize, &result, sizeof(result));
  }
}

template <typename T>
BRAINSIM_INLINE void step(const T* y, const T* pairs, int64_t n, T* out) {
  using Block = typename Format<T>::Block;
  using Bits = typename Format<T>::Bits;
  constexpr int64_t kSize = kBlocks * sizeof(Block) / sizeof(T);
  T z[kSize] = {0}, x[kSize] = {0}, rest_y[kSize] = {0}, rest_out[kSize];
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) {
    for (int64_t k = 0; k < kSize; ++k) z[k] = pairs[2 * (i + k)], x[k] = pairs[2 * (i + k) + 1];
    group<T, Block, Bits>(y + i, z, x, out + i);
  }
  if (i == n) return;
  for (int64_t k = 0; k < n - i; ++k) z[k] = pairs[2 * (i + k)], x[k] = pairs[2 * (i + k) + 1], rest_y[k] = y[i + k];
  group<T, Block, Bits>(rest_y, z, x, rest_out);
  std::memcpy(out + i, rest_out, static_cast<size_t>(n - i) * sizeof(T));
}

template <typename T>
void portable(const T* y, const T* pairs, int64_t n, T* out) {
  step<T>(y, pairs, n, out);
}

#if BRAINSIM_DISPATCH
template <typename T>
__attribute__((target("avx2,fma"))) void wide(const T* y, const T* pairs, int64_t n, T* out) {
  step<T>(y, pairs, n, out);
}

// The instructions on vectors of 64 bytes; GCC 12 makes poor code of the loops above for these.
template <typename T>
struct Widest;

#define BRAINSIM_512 inline __attribute__((always_inline, target("avx512f,avx512dq")))

template <>
struct Widest<float> {
  using V = __m512;
  static BRAINSIM_512 V set1(double x) { return _mm512_set1_ps(static_cast<float>(x)); }
  static BRAINSIM_512 V load(const float* p) { return _mm512_loadu_ps(p); }
  static BRAINSIM_512 void store(float* p, V v) { _mm512_storeu_ps(p, v); }
  static BRAINSIM_512 V fmadd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static BRAINSIM_512 bool far(V z) {  // NaN is not less
    return _mm512_cmp_ps_mask(_mm512_abs_ps(z), _mm512_set1_ps(0.5f), _CMP_NLT_UQ) != 0;
  }
  static BRAINSIM_512 void split(V a, V b, V* even, V* odd) {
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, at, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(at, _mm512_set1_epi32(1)), b);
  }
};

template <>
struct Widest<double> {
  using V = __m512d;
  static BRAINSIM_512 V set1(double x) { return _mm512_set1_pd(x); }
  static BRAINSIM_512 V load(const double* p) { return _mm512_loadu_pd(p); }
  static BRAINSIM_512 void store(double* p, V v) { _mm512_storeu_pd(p, v); }
  static BRAINSIM_512 V fmadd(V a, V b, V c) { return _mm512_fmadd_pd(a, b, c); }
  static BRAINSIM_512 bool far(V z) {
    return _mm512_cmp_pd_mask(_mm512_abs_pd(z), _mm512_set1_pd(0.5), _CMP_NLT_UQ) != 0;
  }
  static BRAINSIM_512 void split(V a, V b, V* even, V* odd) {
    const __m512i at = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    *even = _mm512_permutex2var_pd(a, at, b);
    *odd = _mm512_permutex2var_pd(a, _mm512_add_epi64(at, _mm512_set1_epi64(1)), b);
  }
};

// Where every |z| of a few blocks is below 1/2, the same series in twice as wide vectors: the same bits.
template <typename T>
__attribute__((target("avx512f,avx512dq"))) void widest(const T* y, const T* pairs, int64_t n, T* out) {
  using W = Widest<T>;
  constexpr int64_t kSize = 64 / sizeof(T);
  constexpr int kCount = Format<T>::kNearTerms;
  int64_t i = 0;
  for (; i + kBlocks * kSize <= n; i += kBlocks * kSize) {
    typename W::V z[kBlocks], x[kBlocks], sum[kBlocks];
    bool far = false;
    for (int64_t b = 0; b < kBlocks; ++b) {
      const T* at = pairs + 2 * (i + b * kSize);
      W::split(W::load(at), W::load(at + kSize), &z[b], &x[b]);
      far |= W::far(z[b]);
    }
    if (far) {
      wide<T>(y + i, pairs + 2 * i, kBlocks * kSize, out + i);
      continue;
    }
    for (int64_t b = 0; b < kBlocks; ++b)
      sum[b] = W::fmadd(z[b], W::set1(kSeries[kCount - 1]), W::set1(kSeries[kCount - 2]));
    for (int k = kCount - 3; k >= 0; --k)
      for (int64_t b = 0; b < kBlocks; ++b) sum[b] = W::fmadd(sum[b], z[b], W::set1(kSeries[k]));
    for (int64_t b = 0; b < kBlocks; ++b)
      W::store(out + i + b * kSize, W::fmadd(sum[b], x[b], W::load(y + i + b * kSize)));
  }
  wide<T>(y + i, pairs + 2 * i, n - i, out + i);
}
#endif

template <typename T>
void run(const T* y, const T* pairs, int64_t n, T* out) {
#if BRAINSIM_DISPATCH
  static const bool has_wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool has_widest = has_wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  if (has_widest) return widest<T>(y, pairs, n, out);
  if (has_wide) return wide<T>(y, pairs, n, out);
#endif
  portable<T>(y, pairs, n, out);
}

ffi::Error exponential_step(ffi::AnyBuffer y, ffi::AnyBuffer pairs, ffi::Result<ffi::AnyBuffer> out) {
  const auto type = y.element_type(), complex = pairs.element_type();
  const auto n = static_cast<int64_t>(y.element_count());
  if (out->element_type() != type || static_cast<int64_t>(out->element_count()) != n ||
      static_cast<int64_t>(pairs.element_count()) != n)
    return ffi::Error::InvalidArgument("brainsim exponential step: all arrays must have the same size and type");
  if (type == ffi::F32 && complex == ffi::C64) {
    run(static_cast<const float*>(y.untyped_data()), static_cast<const float*>(pairs.untyped_data()), n,
        static_cast<float*>(out->untyped_data()));
  } else if (type == ffi::F64 && complex == ffi::C128) {
    run(static_cast<const double*>(y.untyped_data()), static_cast<const double*>(pairs.untyped_data()), n,
        static_cast<double*>(out->untyped_data()));
  } else {
    return ffi::Error::InvalidArgument("brainsim exponential step: arrays must be float32 or float64");
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim

BRAINSIM_HANDLER(brainsim_exponential_step, exponential_step,
                 xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>())
