// XLA's arrays as the handlers look at them.

#ifndef BRAINSIM_ARRAYS_H_
#define BRAINSIM_ARRAYS_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "narrow.h"
#include "xla.h"

namespace brainsim {

using ffi::Any;
using ffi::Out;

inline int64_t count(const Any& array) { return static_cast<int64_t>(array.element_count()); }

// The size of an axis, counted from the last, which is 1; or -1 if there is no such axis.
inline int64_t axis(const Any& array, int64_t from_end) {
  const auto dims = array.dimensions();
  return static_cast<int64_t>(dims.size()) < from_end ? -1 : dims[dims.size() - from_end];
}

inline bool has_shape(const Any& array, std::initializer_list<int64_t> shape) {
  const auto dims = array.dimensions();
  return std::equal(dims.begin(), dims.end(), shape.begin(), shape.end());
}

template <typename T>
T* data(const Any& array) {
  return static_cast<T*>(array.untyped_data());
}

// A vector [G, B, n], or [n] for G = B = 1; the size of any other is -1.
struct Vectors {
  int64_t groups = 1, batch = 1, size = -1;

  explicit Vectors(const Any& array) {
    const auto dims = array.dimensions();
    if (dims.size() == 3) groups = dims[0], batch = dims[1], size = dims[2];
    if (dims.size() == 1) size = dims[0];
  }
  bool like(const Vectors& other) const { return groups == other.groups && batch == other.batch; }
};

// Calls `run(an entry of a vector, a weight)` with values of the types of the arrays, if there are kernels for these:
// weights may be narrower than float vectors. Without weights, both are of the type of the vector.
template <typename Run>
ffi::Error typed(const Any& vector, const Any* weights, Run run) {
  const auto type = vector.element_type(), narrow = weights == nullptr ? type : weights->element_type();
  if (type == ffi::F32 && narrow == ffi::F32) return run(float{}, float{});
  if (type == ffi::F32 && narrow == ffi::BF16) return run(float{}, BFloat16{});
  if (type == ffi::F64 && narrow == ffi::F64) return run(double{}, double{});
  return ffi::Error::InvalidArgument("operators", "no kernel for these types");
}

}  // namespace brainsim

#endif  // BRAINSIM_ARRAYS_H_
