// What happens where there are spikes, and nowhere else: entries of arrays are replaced, spikes are appended to lists, all in
// place. XLA would write every array anew, to change one entry in a thousand.
//
// Operands: spikes [n]; `targets` arrays [n]; for each of them the new values, [n] or [1]; lists int32 [capacity + 1, 2]; and
// the step, int32. Results: the arrays, then the lists, which are aliased operands. Spikes are stamped with the end of the
// step, step + 1. The last `timed` arrays are int32, and their values count from there. `parts` says of each list which
// neurons belong there, the first and how many.

#include <cstdint>
#include <cstring>

#include "at_spikes_kernel.h"
#include "at_spikes_problem.h"
#include "handlers.h"

namespace brainsim::spiking {
namespace {

ffi::Error at_spikes(ffi::Operands args, ffi::Results rets, int64_t targets, int64_t timed,
                     ffi::Span parts) {
  Problem p;
  const auto alias = [](const Any& operand, const Any& result) {  // a copy, if XLA still needs the operand
    if (operand.untyped_data() != result.untyped_data())
      std::memcpy(result.untyped_data(), operand.untyped_data(), operand.size_bytes());
    return ffi::Error::Success();
  };
  if (ffi::Error error = check(args, rets, targets, timed, parts, alias, &p); error.failure()) return error;
  const Any spikes = args[0], step = args[args.size() - 1];
  const auto now = static_cast<int32_t>(*data<uint32_t>(step) + 1);
  return typed(spikes, nullptr, [&](auto zero, auto) {
    brainsim::at_spikes(data<const decltype(zero)>(spikes), p.n, now, p.target, p.n_targets, p.list, p.n_lists);
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim::spiking

BRAINSIM_HANDLER(brainsim_at_spikes, spiking::at_spikes, "targets", "timed", "parts")
