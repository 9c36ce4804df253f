// The XLA FFI handler of many products on compressed rows in one call: shape checks, then blocks_kernels.h.
//
// Operands: for every block, in the order of their sources, its indices [nnz], indptr [n_pre + 1] and, if it has any, its
// weights [nnz]; then the sources, spikes [n] each. `layout` has five numbers a block: the number of its source, the first
// neuron there, the first entry of the result, the number of entries, and whether it has weights.

#include <algorithm>
#include <cstdint>

#include "blocks_kernels.h"
#include "blocks_problem.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim::many {
namespace {

ffi::Error blocks(ffi::RemainingArgs args, Out out, ffi::Span<const int64_t> layout) {
  return dispatch(layout, *out, [&](auto zero) {
    using T = decltype(zero);
    Problem<T> p;
    if (ffi::Error error = check(args, layout, *out, &p); error.failure()) return error;
    T* events = data<T>(*out);
    bool clean = false;
    const auto clean_once = [&] {
      if (!clean) std::fill(events, events + p.n_out, T{0});
      clean = true;
    };
    for (int64_t s = 0; s < p.n_sources; ++s) {
      const Source<T>& source = p.sources[s];
      deliver_blocks(source.spikes, source.n, p.blocks + source.first, source.n_blocks, clean_once, events);
    }
    clean_once();
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim::many

BRAINSIM_EXPORT XLA_FFI_Error* brainsim_blocks(XLA_FFI_CallFrame* frame);
XLA_FFI_DEFINE_HANDLER_SYMBOL(brainsim_blocks, brainsim::many::blocks,
                              xla::ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Attr<xla::ffi::Span<const int64_t>>("layout"));
