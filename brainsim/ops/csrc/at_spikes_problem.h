// What happens where there are spikes: the arrays and lists, read from the operands and checked; see at_spikes.cc.

#ifndef BRAINSIM_AT_SPIKES_PROBLEM_H_
#define BRAINSIM_AT_SPIKES_PROBLEM_H_

#include <cstdint>
#include <limits>

#include "arrays.h"
#include "targets.h"

namespace brainsim::spiking {

constexpr size_t kMost = 64;  // arrays, and lists: on the stack, no kernel allocates

struct Problem {
  int64_t n;
  size_t n_targets, n_lists;
  Target target[kMost];
  List list[kMost];
};

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("at_spikes", what);
}

// Calls `alias(operand, result)` for each result, which is to make the one the other, in place or by a copy.
template <typename Alias>
ffi::Error check(ffi::Operands args, ffi::Results rets, int64_t targets, int64_t timed,
                 ffi::Span parts, Alias alias, Problem* p) {
  const size_t n_lists = parts.size() / 2, n_targets = static_cast<size_t>(targets);
  if (targets < 0 || timed < 0 || timed > targets || n_targets > kMost || n_lists > kMost || parts.size() % 2 != 0)
    return invalid("too many arrays or lists");
  if (args.size() != 2 * n_targets + n_lists + 2 || rets.size() != n_targets + n_lists)
    return invalid("there are not as many operands and results as expected");
  const Any spikes = args[0], step = args[args.size() - 1];
  if (step.element_type() != ffi::S32 || step.element_count() != 1)
    return invalid("the step must be one int32");
  if (spikes.element_type() != ffi::F32 && spikes.element_type() != ffi::F64)
    return invalid("spikes must be float32 or float64");
  const int64_t n = count(spikes);
  if (n > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
  p->n = n, p->n_targets = n_targets, p->n_lists = n_lists;
  const auto same = [](const Any& operand, const Any& result) {
    return operand.element_type() == result.element_type() && operand.size_bytes() == result.size_bytes();
  };
  for (size_t t = 0; t < n_targets; ++t) {
    const Any array = args[1 + t], values = args[1 + n_targets + t], result = rets[t];
    const int64_t given = count(values);
    const auto size = count(array) > 0 ? static_cast<int64_t>(array.size_bytes()) / count(array) : 4;
    if (count(array) != n || (given != n && given != 1) || values.element_type() != array.element_type())
      return invalid("arrays must have one entry per neuron, and their new values that or one, of the same type");
    if (size != 4 && size != 8) return invalid("entries must have four or eight bytes");
    if (!same(array, result)) return invalid("results must have the shapes of the arrays");
    p->target[t] = {data<char>(result), data<char>(values), given == 1 ? 0 : size, size,
                    static_cast<int64_t>(t) >= targets - timed};
    if (p->target[t].timed && array.element_type() != ffi::S32) return invalid("times must be int32");
    if (ffi::Error error = alias(array, result); error.failure()) return error;
  }
  for (size_t l = 0; l < n_lists; ++l) {
    const Any operand = args[1 + 2 * n_targets + l], result = rets[n_targets + l];
    const auto shape = operand.dimensions();
    const int64_t first = parts.begin()[2 * l], size = parts.begin()[2 * l + 1];
    if (operand.element_type() != ffi::S32 || shape.size() != 2 || shape[0] < 1 || shape[1] != 2 ||
        shape[0] > std::numeric_limits<int32_t>::max())
      return invalid("lists must be int32 [capacity + 1, 2]");
    if (first < 0 || size < 0 || first > n || size > n - first) return invalid("there are no such neurons");
    if (!same(operand, result)) return invalid("results must have the shapes of the lists");
    p->list[l] = {data<int32_t>(result), shape[0] - 1, first, size};
    if (ffi::Error error = alias(operand, result); error.failure()) return error;
  }
  return ffi::Error::Success();
}

}  // namespace brainsim::spiking

#endif  // BRAINSIM_AT_SPIKES_PROBLEM_H_
