// The search for spikes: which of many values, nearly all of them zero, are not. Nothing here knows of XLA.

#ifndef BRAINSIM_SEARCH_H_
#define BRAINSIM_SEARCH_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "portable.h"
#include "restrict.h"

namespace brainsim {

// Presynaptic neurons with a nonzero value are collected and delivered in chunks, on the stack: no kernel allocates.
constexpr int64_t kChunk = 512;
constexpr int64_t kBlock = 32;     // values looked at together: most hold no spike,
constexpr int64_t kPart = 8;       // and of the others, most parts hold none

// Bit patterns are OR-ed, 16 bytes at a time: faster than floats are compared.
template <int64_t kSize, typename T>
inline bool all_zero(const T* values) {
#if defined(__GNUC__) || defined(__clang__)
  typedef uint64_t Pair __attribute__((vector_size(16), aligned(4), may_alias));
  constexpr uint64_t kMagnitude = sizeof(T) == 4 ? 0x7fffffff7fffffffull : 0x7fffffffffffffffull;
  const Pair* pairs = reinterpret_cast<const Pair*>(values);
  Pair any = pairs[0];
  for (int64_t k = 1; k < kSize * static_cast<int64_t>(sizeof(T)) / 16; ++k) any |= pairs[k];
  return ((any[0] | any[1]) & kMagnitude) == 0;
#else
  decltype(magnitude_bits(T{})) any = 0;
  for (int64_t k = 0; k < kSize; ++k) any |= magnitude_bits(values[k]);
  return any == 0;
#endif
}

// Where the first block of kBlock values that are not all zero begins, from `row` on; or where the last whole block ends.
template <typename T>
int64_t skip_zeros_portable(const T* values, int64_t row, int64_t n) {
  while (row + kBlock <= n && all_zero<kBlock>(values + row)) row += kBlock;
  return row;
}

#if BRAINSIM_WIDE
// With the compilers' own names of the instructions: their header takes as long to read as all else that is here.
template <typename T>
__attribute__((target("avx2"))) int64_t skip_zeros_avx2(const T* values, int64_t row, int64_t n) {
  typedef long long Four __attribute__((vector_size(32)));
  typedef Four FourAnywhere __attribute__((aligned(4), may_alias));
  constexpr int64_t kSize = 32 / sizeof(T);
  constexpr long long kMagnitude = sizeof(T) == 4 ? 0x7fffffff7fffffff : 0x7fffffffffffffff;
  const Four magnitude = {kMagnitude, kMagnitude, kMagnitude, kMagnitude};
  for (; row + kBlock <= n; row += kBlock) {
    Four any = {0, 0, 0, 0};
    for (int64_t k = 0; k < kBlock; k += kSize) any |= *reinterpret_cast<const FourAnywhere*>(values + row + k);
    if (!__builtin_ia32_ptestz256(any, magnitude)) break;
  }
  return row;
}
#endif

template <typename T>
int64_t skip_zeros(const T* values, int64_t row, int64_t n) {
#if BRAINSIM_WIDE
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return skip_zeros_avx2(values, row, n);
#endif
  return skip_zeros_portable(values, row, n);
}

// Calls `deliver(rows, count)` with the neurons whose value is not zero, in ascending order, in chunks; once at least.
template <typename T, typename Deliver>
inline void for_spikes(const T* BRAINSIM_RESTRICT spikes, int64_t n_pre, Deliver deliver) {
  int32_t spiking[kChunk + kBlock];
  int64_t n = 0;
  const auto collect = [&](int64_t row, int64_t size) {
    for (int64_t k = row; k < row + size; ++k) {  // written always and kept if not zero: no branch to mispredict
      spiking[n] = static_cast<int32_t>(k);
      n += magnitude_bits(spikes[k]) != 0;
    }
  };
  bool delivered = false;
  int64_t row = skip_zeros(spikes, 0, n_pre);
  for (; row + kBlock <= n_pre; row = skip_zeros(spikes, row + kBlock, n_pre)) {
    for (int64_t part = row; part < row + kBlock; part += kPart)
      if (!all_zero<kPart>(spikes + part)) collect(part, kPart);
    if (n < kChunk) continue;
    deliver(spiking, n);
    delivered = true;
    n = 0;
  }
  collect(row, n_pre - row);
  if (n > 0 || !delivered) deliver(spiking, n);
}

}  // namespace brainsim

#endif  // BRAINSIM_SEARCH_H_
