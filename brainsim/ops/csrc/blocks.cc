// The XLA FFI handler of many products on compressed rows in one call: shape checks, then blocks_kernels.h.
//
// Operands: for every block, in the order of their sources, its indices [nnz], indptr [n_pre + 1] and, if it has any, its
// weights [nnz]; then the sources, spikes [n] each. `layout` has five numbers a block: the number of its source, the first
// neuron there, the first entry of the result, the number of entries, and whether it has weights.

#include <cstdint>
#include <limits>

#include "blocks_kernels.h"
#include "csr_problem.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

constexpr int64_t kMostBlocks = 256;  // on the stack: no kernel allocates
constexpr size_t kFields = 5;

template <typename T>
ffi::Error run(ffi::RemainingArgs args, ffi::Span<const int64_t> layout, const Any& out) {
  const auto n_blocks = static_cast<int64_t>(layout.size() / kFields);
  const auto n_out = static_cast<int64_t>(out.element_count());
  Block<T> blocks[kMostBlocks];
  int64_t sources[kMostBlocks];
  size_t next = 0;
  const auto take = [&](Any* array) {
    const auto given = args.get<Any>(next++);
    if (given.has_value()) *array = *given;
    return given.has_value();
  };
  for (int64_t b = 0; b < n_blocks; ++b) {
    const int64_t* fields = layout.begin() + b * kFields;
    Any indices(nullptr), indptr(nullptr), weights(nullptr);
    if (!take(&indices) || !take(&indptr) || (fields[4] != 0 && !take(&weights)))
      return invalid("a block lacks an array");
    if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
      return invalid("indices and indptr must be int32");
    const auto nnz = static_cast<int64_t>(indices.element_count());
    const auto n_pre = static_cast<int64_t>(indptr.element_count()) - 1;
    if (n_pre < 0 || nnz > std::numeric_limits<int32_t>::max()) return invalid("a block has no rows, or too many synapses");
    if (fields[1] < 0 || fields[2] < 0 || fields[3] < 0 || fields[2] > n_out ||
        fields[3] > n_out - fields[2])
      return invalid("a block ends outside of the result");
    if (fields[4] != 0 && (weights.element_type() != out.element_type() ||
                           static_cast<int64_t>(weights.element_count()) != nnz))
      return invalid("weights must have one entry per synapse, of the type of the spikes");
    if (b > 0 && fields[0] < sources[b - 1]) return invalid("blocks must come in the order of their sources");
    sources[b] = fields[0];
    blocks[b] = {{data<int32_t>(indices), data<int32_t>(indptr), nnz, n_pre, fields[3]},
                 fields[1],
                 fields[2],
                 fields[4] != 0 ? data<T>(weights) : nullptr};
  }
  T* events = data<T>(out);
  bool clean = false;
  const auto clean_once = [&] {
    if (!clean) std::fill(events, events + n_out, T{0});
    clean = true;
  };
  const auto n_sources = static_cast<int64_t>(args.size() - next);
  int64_t first = 0;
  for (int64_t s = 0; s < n_sources; ++s) {
    Any spikes(nullptr);
    if (!take(&spikes) || spikes.element_type() != out.element_type())
      return invalid("spikes and the result must have the same type");
    const auto n = static_cast<int64_t>(spikes.element_count());
    if (n > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
    int64_t last = first;
    for (; last < n_blocks && sources[last] == s; ++last)
      if (blocks[last].first_pre > n || blocks[last].rows.n_pre > n - blocks[last].first_pre)
        return invalid("a block begins outside of its source");
    deliver_blocks(data<T>(spikes), n, blocks + first, last - first, clean_once, events);
    first = last;
  }
  clean_once();
  return first == n_blocks ? ffi::Error::Success() : invalid("a block has no source");
}

ffi::Error blocks(ffi::RemainingArgs args, ffi::Result<Any> out, ffi::Span<const int64_t> layout) {
  if (layout.size() % kFields != 0 || layout.size() / kFields > kMostBlocks) return invalid("five numbers a block, 256 blocks");
  if (out->element_type() == ffi::F32) return run<float>(args, layout, *out);
  if (out->element_type() == ffi::F64) return run<double>(args, layout, *out);
  return invalid("vectors must be float32 or float64");
}

}  // namespace
}  // namespace brainsim

BRAINSIM_EXPORT XLA_FFI_Error* brainsim_blocks(XLA_FFI_CallFrame* frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(brainsim_blocks, brainsim::blocks,
                              xla::ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Attr<xla::ffi::Span<const int64_t>>("layout"));
