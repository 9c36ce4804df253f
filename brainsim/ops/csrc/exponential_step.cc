// y + x (exp(z) - 1) / z, elementwise: a step of an exponential integrator, with the work that each element needs.
//
// z and x come as pairs, the parts of a complex number: XLA computes both in one loop then, and its executor runs few
// loops much faster than many.
//
// The result for an element depends on that element only, whatever stands beside it: where every |z| of a block is below
// 1/2, as in most blocks of most models, only the short series is computed, which is what each of them gets in any case.

#include <cstdint>
#include <cstring>

#include "exponential.h"
#include "exponential_problem.h"
#include "handlers.h"

#if BRAINSIM_WIDE
#include <immintrin.h>
#endif

namespace brainsim {
namespace {

// Blocks are vectors of the compilers that have them, else numbers: the same code, element by element.
#if defined(__GNUC__) || defined(__clang__)
#define BRAINSIM_VECTOR(type) type __attribute__((vector_size(32)))
#else
#define BRAINSIM_VECTOR(type) type
#endif

template <typename T>
struct Format : Constants<T> {
  typedef BRAINSIM_VECTOR(T) Block;
  typedef BRAINSIM_VECTOR(typename Constants<T>::Bits) Bits;
};

constexpr int64_t kBlocks = 4;

template <typename Block, typename T>
BRAINSIM_ALWAYS_INLINE Block load(const T* values) {
  Block block;
  std::memcpy(&block, values, sizeof(block));
  return block;
}

template <typename Bits>
BRAINSIM_ALWAYS_INLINE bool any(Bits bits) {
  uint64_t words[(sizeof(bits) + 7) / 8] = {0}, sum = 0;
  std::memcpy(words, &bits, sizeof(bits));
  for (const uint64_t word : words) sum |= word;
  return sum != 0;
}

// The z and the x of as many pairs as a block has places; in an order that takes one instruction for vectors of 32 bytes, and
// that `in_order` turns into theirs.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define BRAINSIM_SHUFFLE __builtin_shufflevector
#endif
#endif
#ifdef BRAINSIM_SHUFFLE
template <typename Block>
BRAINSIM_ALWAYS_INLINE void split(const float* pairs, Block* z, Block* x) {
  const Block first = load<Block>(pairs), second = load<Block>(pairs + 8);
  *z = BRAINSIM_SHUFFLE(first, second, 0, 2, 8, 10, 4, 6, 12, 14);
  *x = BRAINSIM_SHUFFLE(first, second, 1, 3, 9, 11, 5, 7, 13, 15);
}
template <typename Block>
BRAINSIM_ALWAYS_INLINE void split(const double* pairs, Block* z, Block* x) {
  const Block first = load<Block>(pairs), second = load<Block>(pairs + 4);
  *z = BRAINSIM_SHUFFLE(first, second, 0, 4, 2, 6);
  *x = BRAINSIM_SHUFFLE(first, second, 1, 5, 3, 7);
}
template <typename T, typename Block>
BRAINSIM_ALWAYS_INLINE Block in_order(Block block) {
  if constexpr (sizeof(T) == 4) return BRAINSIM_SHUFFLE(block, block, 0, 1, 4, 5, 2, 3, 6, 7);
  if constexpr (sizeof(T) == 8) return BRAINSIM_SHUFFLE(block, block, 0, 2, 1, 3);
}
#else
template <typename T, typename Block>
BRAINSIM_ALWAYS_INLINE void split(const T* pairs, Block* z, Block* x) {
  constexpr int64_t kSize = sizeof(Block) / sizeof(T);
  T zs[kSize], xs[kSize];
  for (int64_t k = 0; k < kSize; ++k) zs[k] = pairs[2 * k], xs[k] = pairs[2 * k + 1];
  *z = load<Block>(zs), *x = load<Block>(xs);
}
template <typename T, typename Block>
BRAINSIM_ALWAYS_INLINE Block in_order(Block block) {
  return block;
}
#endif

// A few blocks at a time, so that the test costs little. `out` may be `y`.
template <typename T, typename Block, typename Bits>
BRAINSIM_ALWAYS_INLINE void group(const T* y, const T* pairs, T* out) {
  constexpr int64_t kSize = sizeof(Block) / sizeof(T);
  Block z[kBlocks], x[kBlocks];
  Bits others = {};
  for (int64_t b = 0; b < kBlocks; ++b) {
    split(pairs + 2 * b * kSize, &z[b], &x[b]);
    others |= away<T, Block, Bits>(z[b]);
  }
  const bool mixed = any(others);
  for (int64_t b = 0; b < kBlocks; ++b) {
    Block result = series<T, Format<T>::kNearTerms>(z[b]);
    if (mixed) result = away<T, Block, Bits>(z[b]) ? far<T, Block, Bits>(z[b]) : result;
    result = load<Block>(y + b * kSize) + in_order<T>(result) * in_order<T>(x[b]);
    std::memcpy(out + b * kSize, &result, sizeof(result));
  }
}

template <typename T>
BRAINSIM_ALWAYS_INLINE void step(const T* y, const T* pairs, int64_t n, T* out) {
  using Block = typename Format<T>::Block;
  using Bits = typename Format<T>::Bits;
  constexpr int64_t kSize = kBlocks * sizeof(Block) / sizeof(T);
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) group<T, Block, Bits>(y + i, pairs + 2 * i, out + i);
  if (i == n) return;
  const size_t rest = static_cast<size_t>(n - i) * sizeof(T);
  T rest_y[kSize] = {0}, rest_pairs[2 * kSize] = {0}, rest_out[kSize];
  std::memcpy(rest_y, y + i, rest);
  std::memcpy(rest_pairs, pairs + 2 * i, 2 * rest);
  group<T, Block, Bits>(rest_y, rest_pairs, rest_out);
  std::memcpy(out + i, rest_out, rest);
}

template <typename T>
void portable(const T* y, const T* pairs, int64_t n, T* out) {
  step<T>(y, pairs, n, out);
}

#if BRAINSIM_WIDE
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
#if BRAINSIM_WIDE
  static const bool has_wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool has_widest = has_wide && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  if (has_widest) return widest<T>(y, pairs, n, out);
  if (has_wide) return wide<T>(y, pairs, n, out);
#endif
  portable<T>(y, pairs, n, out);
}

ffi::Error exponential_step(Any y, Any pairs, Out out) {
  if (ffi::Error error = check_exponential(y, pairs, *out); error.failure()) return error;
  return typed(y, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    run(data<const T>(y), data<const T>(pairs), count(y), data<T>(*out));
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim

BRAINSIM_HANDLER(brainsim_exponential_step, exponential_step)
