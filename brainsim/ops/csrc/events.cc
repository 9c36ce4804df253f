// Spikes appended to a list, in place: the list is an aliased operand.
//
//   spikes [*batch, n], step [*batch], list [*batch, capacity + 1, 2] -> the same list
// Row 0 of a list holds the number of spikes there were, row i + 1 the step and the neuron of spike i. Whatever row 0
// holds at the beginning, nothing is written outside of the list.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "events_kernel.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;

template <typename T>
void append_all(const ffi::AnyBuffer& spikes, const int32_t* steps, int64_t batch, int64_t n, int64_t capacity,
                int32_t* lists) {
  const T* values = static_cast<const T*>(spikes.untyped_data());
  for (int64_t b = 0; b < batch; ++b)
    append<T>(values + b * n, n, steps[b], lists + 2 * b * (capacity + 1), capacity);
}

ffi::Error append_events(ffi::AnyBuffer list, ffi::AnyBuffer spikes, ffi::AnyBuffer step,
                         ffi::Result<ffi::AnyBuffer> out) {
  const auto invalid = [](const char* what) {
    return ffi::Error::InvalidArgument(std::string("brainsim append_events: ") + what);
  };
  const auto shape = list.dimensions(), values = spikes.dimensions(), batches = step.dimensions();
  const size_t axes = batches.size();
  if (list.element_type() != ffi::S32 || step.element_type() != ffi::S32 || out->element_type() != ffi::S32)
    return invalid("lists and steps must be int32");
  if (shape.size() != axes + 2 || values.size() != axes + 1 || shape[axes + 1] != 2 || shape[axes] < 1)
    return invalid("expected a list [capacity + 1, 2], spikes [n] and a step");
  if (!std::equal(batches.begin(), batches.end(), shape.begin()) ||
      !std::equal(batches.begin(), batches.end(), values.begin()))
    return invalid("all arrays must have the same batch axes");
  const auto result = out->dimensions();
  if (!std::equal(shape.begin(), shape.end(), result.begin(), result.end()))
    return invalid("the result must have the shape of the list");
  const int64_t n = values[axes], capacity = shape[axes] - 1;
  if (std::max(n, capacity) >= std::numeric_limits<int32_t>::max()) return invalid("too large for 32-bit indices");
  int32_t* lists = static_cast<int32_t*>(out->untyped_data());
  // XLA hands out one buffer for both, unless the old list is still needed.
  if (lists != list.untyped_data()) std::memcpy(lists, list.untyped_data(), list.size_bytes());
  const auto batch = static_cast<int64_t>(step.element_count());
  const auto* steps = static_cast<const int32_t*>(step.untyped_data());
  switch (spikes.element_type()) {
    case ffi::F32:
      append_all<float>(spikes, steps, batch, n, capacity, lists);
      return ffi::Error::Success();
    case ffi::F64:
      append_all<double>(spikes, steps, batch, n, capacity, lists);
      return ffi::Error::Success();
    default:
      return invalid("spikes must be float32 or float64");
  }
}

}  // namespace
}  // namespace brainsim

BRAINSIM_HANDLER(brainsim_append_events, append_events,
                 xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>())
