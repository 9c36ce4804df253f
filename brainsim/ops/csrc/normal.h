// Normal numbers from random words. Nothing here knows of XLA.

#ifndef BRAINSIM_NORMAL_H_
#define BRAINSIM_NORMAL_H_

#include <cmath>
#include <cstdint>

#include "portable.h"

namespace brainsim {

// A normal number from a random word, to seven digits: the quantile at (word + 1/2) / 2^32, as a quotient of polynomials of
// Wichura 1988, doi:10.2307/2347330 (AS 241, PPND7); one in the middle, another in the tails.
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE uint32_t from_the_end(uint32_t word) { return word < ~word ? word : ~word; }
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE bool in_a_tail(uint32_t word) { return from_the_end(word) < 322122547; }  // 0.075 * 2^32

template <typename T>
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE T normal_in_the_middle(uint32_t word) {
  const auto c = [](double x) { return static_cast<T>(x); };
  const T q = (static_cast<T>(static_cast<int32_t>(word ^ 0x80000000u)) + c(0.5)) * c(0x1p-32);
  const T r = c(0.180625) - q * q;
  return q * (((c(59.10937472) * r + c(159.29113202)) * r + c(50.434271938)) * r + c(3.3871327179)) /
         (((c(67.1875636) * r + c(78.757757664)) * r + c(17.895169469)) * r + c(1));
}
template <typename T>
BRAINSIM_HD BRAINSIM_ALWAYS_INLINE T normal_in_a_tail(uint32_t word) {
  const auto c = [](double x) { return static_cast<T>(x); };
  const T r = std::sqrt(-std::log((static_cast<T>(from_the_end(word)) + c(0.5)) * c(0x1p-32))) - c(1.6);
  const T z = (((c(0.17023821103) * r + c(1.3067284816)) * r + c(2.75681539)) * r + c(1.4234372777)) /
              ((c(0.12021132975) * r + c(0.7370016425)) * r + c(1));
  return from_the_end(word) == word ? -z : z;
}
template <typename T>
BRAINSIM_HD T normal(uint32_t word) {
  return in_a_tail(word) ? normal_in_a_tail<T>(word) : normal_in_the_middle<T>(word);
}

}  // namespace brainsim

#endif  // BRAINSIM_NORMAL_H_
