// Spikes appended to a list, in place: the list is an aliased operand.
//
//   spikes [*batch, n], step [*batch], list [*batch, capacity + 1, 2] -> the same list
// Row 0 of a list holds the number of spikes there were, row i + 1 the step and the neuron of spike i. Whatever row 0
// holds at the beginning, nothing is written outside of the list.

#include <cstdint>
#include <cstring>

#include "events_kernel.h"
#include "events_problem.h"
#include "handlers.h"

namespace brainsim::listing {
namespace {

ffi::Error append_events(Any list, Any spikes, Any step, Out out) {
  Problem p;
  if (ffi::Error error = check(list, spikes, step, *out, &p); error.failure()) return error;
  int32_t* lists = data<int32_t>(*out);
  // XLA hands out one buffer for both, unless the old list is still needed.
  if (lists != list.untyped_data()) std::memcpy(lists, list.untyped_data(), list.size_bytes());
  return typed(spikes, nullptr, [&](auto zero, auto) {
    for (int64_t b = 0; b < p.batch; ++b)
      append(data<const decltype(zero)>(spikes) + b * p.n, p.n, data<int32_t>(step)[b],
             lists + 2 * b * (p.capacity + 1), p.capacity);
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim::listing

BRAINSIM_HANDLER(brainsim_append_events, listing::append_events)
