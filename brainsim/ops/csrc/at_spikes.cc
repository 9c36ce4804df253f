// What happens where there are spikes, and nowhere else: entries of arrays are replaced, spikes are appended to lists, all in
// place. XLA would write every array anew, to change one entry in a thousand.
//
// Operands: spikes [n]; `targets` arrays [n]; for each of them the new values, [n] or [1]; lists int32 [capacity + 1, 2]; and
// the step, int32. Results: the arrays, then the lists, which are aliased operands. Spikes are stamped with the end of the
// step, step + 1. The last `timed` arrays are int32, and their values count from there. `parts` says of each list which
// neurons belong there, the first and how many.

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "at_spikes_kernel.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

constexpr size_t kMost = 64;  // arrays, and lists: on the stack, no kernel allocates

ffi::Error invalid(const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim at_spikes: ") + what); }

// The result in place of the operand, or a copy of it if XLA still needs that.
bool aliased(const Any& operand, const Any& result) {
  if (operand.element_type() != result.element_type() || operand.size_bytes() != result.size_bytes()) return false;
  if (operand.untyped_data() != result.untyped_data())
    std::memcpy(result.untyped_data(), operand.untyped_data(), operand.size_bytes());
  return true;
}

ffi::Error handle_at_spikes(ffi::RemainingArgs args, ffi::RemainingRets rets, int64_t targets, int64_t timed,
                     ffi::Span<const int64_t> parts) {
  const size_t n_lists = parts.size() / 2, n_targets = static_cast<size_t>(targets);
  if (targets < 0 || timed < 0 || timed > targets || n_targets > kMost || n_lists > kMost || parts.size() % 2 != 0) return invalid("too many arrays or lists");
  if (args.size() != 2 * n_targets + n_lists + 2 || rets.size() != n_targets + n_lists)
    return invalid("there are not as many operands and results as expected");
  const auto spikes = args.get<Any>(0), step = args.get<Any>(args.size() - 1);
  if (!spikes.has_value() || !step.has_value() || step->element_type() != ffi::S32 || step->element_count() != 1)
    return invalid("the step must be one int32");
  const auto n = static_cast<int64_t>(spikes->element_count());
  if (n > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
  Target target[kMost];
  for (size_t t = 0; t < n_targets; ++t) {
    const auto array = args.get<Any>(1 + t), values = args.get<Any>(1 + n_targets + t);
    auto result = rets.get<Any>(t);
    if (!array.has_value() || !values.has_value() || !result.has_value()) return invalid("an array is missing");
    const auto count = static_cast<int64_t>(array->element_count()), given = static_cast<int64_t>(values->element_count());
    const auto size = count > 0 ? static_cast<int64_t>(array->size_bytes()) / count : 4;
    if (count != n || (given != n && given != 1) || values->element_type() != array->element_type())
      return invalid("arrays must have one entry per neuron, and their new values that or one, of the same type");
    if (size != 4 && size != 8) return invalid("entries must have four or eight bytes");
    if (!aliased(*array, **result)) return invalid("results must have the shapes of the arrays");
    target[t] = {static_cast<char*>((*result)->untyped_data()), static_cast<const char*>(values->untyped_data()),
                 given == 1 ? 0 : size, size, static_cast<int64_t>(t) >= targets - timed};
    if (target[t].timed && array->element_type() != ffi::S32) return invalid("times must be int32");
  }
  List list[kMost];
  for (size_t l = 0; l < n_lists; ++l) {
    const auto operand = args.get<Any>(1 + 2 * n_targets + l);
    auto result = rets.get<Any>(n_targets + l);
    if (!operand.has_value() || !result.has_value()) return invalid("a list is missing");
    const auto shape = operand->dimensions();
    const int64_t first = parts.begin()[2 * l], size = parts.begin()[2 * l + 1];
    if (operand->element_type() != ffi::S32 || shape.size() != 2 || shape[0] < 1 || shape[1] != 2 ||
        shape[0] > std::numeric_limits<int32_t>::max())
      return invalid("lists must be int32 [capacity + 1, 2]");
    if (first < 0 || size < 0 || first > n || size > n - first) return invalid("there are no such neurons");
    if (!aliased(*operand, **result)) return invalid("results must have the shapes of the lists");
    list[l] = {static_cast<int32_t*>((*result)->untyped_data()), shape[0] - 1, first, size};
  }
  const uint32_t step_now = *static_cast<const uint32_t*>(step->untyped_data());
  const auto now = static_cast<int32_t>(step_now + 1);
  if (spikes->element_type() == ffi::F32) {
    at_spikes(static_cast<const float*>(spikes->untyped_data()), n, now, target, n_targets, list, n_lists);
  } else if (spikes->element_type() == ffi::F64) {
    at_spikes(static_cast<const double*>(spikes->untyped_data()), n, now, target, n_targets, list, n_lists);
  } else {
    return invalid("spikes must be float32 or float64");
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim

BRAINSIM_EXPORT XLA_FFI_Error* brainsim_at_spikes(XLA_FFI_CallFrame* frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(brainsim_at_spikes, brainsim::handle_at_spikes,
                              xla::ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<int64_t>("targets")
                                  .Attr<int64_t>("timed")
                                  .Attr<xla::ffi::Span<const int64_t>>("parts"));
