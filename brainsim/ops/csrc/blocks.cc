// The XLA FFI handler of many products on compressed rows in one call: shape checks, then blocks_kernels.h.
//
// Operands: for every block, in the order of their sources, its indices [nnz], indptr [n_pre + 1] and weights, [nnz] or one;
// then the `targets` arrays [n], to which everything is added; then the sources, spikes [n] each. Results: the targets, which
// are aliased operands. `layout` has six numbers a block: the number of its source, the first neuron there, the number of
// its target, the first entry there, the number of entries, and whether there is one weight for every synapse.

#include <cstdint>
#include <cstring>
#include <limits>

#include "blocks_kernels.h"
#include "csr_problem.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

constexpr int64_t kMostBlocks = 256, kMostTargets = 64;  // on the stack: no kernel allocates
constexpr size_t kFields = 6;

template <typename T>
ffi::Error run(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Span<const int64_t> layout, ffi::DataType type) {
  const auto n_blocks = static_cast<int64_t>(layout.size() / kFields);
  const auto n_targets = static_cast<int64_t>(rets.size());
  size_t next = static_cast<size_t>(3 * n_blocks);
  if (args.size() < next + rets.size()) return invalid("there are fewer operands than expected");

  T* targets[kMostTargets];
  int64_t sizes[kMostTargets];
  for (int64_t t = 0; t < n_targets; ++t) {
    const auto given = args.get<Any>(next++);
    auto result = rets.get<Any>(static_cast<size_t>(t));
    if (!given.has_value() || !result.has_value() || given->element_type() != type ||
        (*result)->element_type() != type || (*result)->size_bytes() != given->size_bytes())
      return invalid("a target must be of the type of the others, and its result like it");
    targets[t] = data<T>(**result);
    sizes[t] = static_cast<int64_t>(given->element_count());
    if (sizes[t] > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
    // XLA hands out one buffer for both, unless what was there is still needed.
    if (targets[t] != given->untyped_data()) std::memcpy(targets[t], given->untyped_data(), given->size_bytes());
  }

  Block<T> blocks[kMostBlocks];
  for (int64_t b = 0; b < n_blocks; ++b) {
    const int64_t* at = layout.begin() + b * kFields;
    const auto array = [&](int64_t i) { return args.get<Any>(static_cast<size_t>(3 * b + i)); };
    const auto indices = array(0), indptr = array(1), weights = array(2);
    if (!indices.has_value() || !indptr.has_value() || !weights.has_value()) return invalid("a block lacks an array");
    if (indices->element_type() != ffi::S32 || indptr->element_type() != ffi::S32)
      return invalid("indices and indptr must be int32");
    const auto nnz = static_cast<int64_t>(indices->element_count());
    const auto n_pre = static_cast<int64_t>(indptr->element_count()) - 1;
    if (n_pre < 0 || nnz > std::numeric_limits<int32_t>::max()) return invalid("a block has no rows, or too many synapses");
    if (at[2] < 0 || at[2] >= n_targets) return invalid("a block has no target");
    if (at[1] < 0 || at[3] < 0 || at[4] < 0 || at[3] > sizes[at[2]] || at[4] > sizes[at[2]] - at[3])
      return invalid("a block ends outside of its target");
    const bool each = at[5] != 0;
    if (weights->element_type() != type || static_cast<int64_t>(weights->element_count()) != (each ? nnz : 1))
      return invalid("weights must be one, or one per synapse, of the type of the spikes");
    if (b > 0 && at[0] < at[-static_cast<int64_t>(kFields)]) return invalid("blocks must come in the order of their sources");
    blocks[b] = {{data<int32_t>(*indices), data<int32_t>(*indptr), nnz, n_pre, at[4]},
                 at[1],
                 data<T>(*weights),
                 each,
                 targets[at[2]] + at[3]};
  }

  int64_t first = 0;
  for (int64_t s = 0; next < args.size(); ++s) {
    const auto spikes = args.get<Any>(next++);
    if (!spikes.has_value() || spikes->element_type() != type) return invalid("spikes and targets must have the same type");
    const auto n = static_cast<int64_t>(spikes->element_count());
    if (n > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
    int64_t last = first;
    for (; last < n_blocks && layout.begin()[last * kFields] == s; ++last)
      if (blocks[last].first_pre > n || blocks[last].rows.n_pre > n - blocks[last].first_pre)
        return invalid("a block begins outside of its source");
    deliver_blocks(data<T>(*spikes), n, blocks + first, last - first);
    first = last;
  }
  return first == n_blocks ? ffi::Error::Success() : invalid("a block has no source");
}

ffi::Error blocks(ffi::RemainingArgs args, ffi::RemainingRets rets, ffi::Span<const int64_t> layout) {
  if (layout.size() % kFields != 0 || layout.size() / kFields > kMostBlocks) return invalid("six numbers a block, 256 blocks");
  if (rets.size() == 0 || rets.size() > kMostTargets) return invalid("there must be 1 to 64 targets");
  auto first = rets.get<Any>(0);
  if (!first.has_value()) return invalid("a target is missing");
  const ffi::DataType type = (*first)->element_type();
  if (type == ffi::F32) return run<float>(args, rets, layout, type);
  if (type == ffi::F64) return run<double>(args, rets, layout, type);
  return invalid("vectors must be float32 or float64");
}

}  // namespace
}  // namespace brainsim

BRAINSIM_EXPORT XLA_FFI_Error* brainsim_blocks(XLA_FFI_CallFrame* frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    brainsim_blocks, brainsim::blocks,
    xla::ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attr<xla::ffi::Span<const int64_t>>("layout"));
