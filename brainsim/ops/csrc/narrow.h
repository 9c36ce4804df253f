// bfloat16, the upper half of a float: storage of weights only; sums are those of the vectors' type.

#ifndef BRAINSIM_NARROW_H_
#define BRAINSIM_NARROW_H_

#include <cstdint>
#include <cstring>

#include "portable.h"

namespace brainsim {

struct BFloat16 {
  uint16_t bits;
};

template <typename T, typename W>
BRAINSIM_HD inline T widened(W x) {
  return static_cast<T>(x);
}
template <>
BRAINSIM_HD inline float widened<float, BFloat16>(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace brainsim

#endif  // BRAINSIM_NARROW_H_
