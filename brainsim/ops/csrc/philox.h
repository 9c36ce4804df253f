// The counter-based generator Philox 4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

#ifndef BRAINSIM_PHILOX_H_
#define BRAINSIM_PHILOX_H_

#include <cstdint>

#include "portable.h"

namespace brainsim {

struct Words {
  uint32_t word[4];
};

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kM0 = 0xD2511F53u, kM1 = 0xCD9E8D57u, kW0 = 0x9E3779B9u, kW1 = 0xBB67AE85u;

BRAINSIM_HD BRAINSIM_ALWAYS_INLINE Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                                uint32_t k1) {
  BRAINSIM_UNROLL
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t a = static_cast<uint64_t>(kM0) * c0, b = static_cast<uint64_t>(kM1) * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
    k0 += kW0;
    k1 += kW1;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace brainsim

#endif  // BRAINSIM_PHILOX_H_
