// The XLA FFI handler of many products on compressed rows in one call: shape checks, then blocks_kernels.h.
//
// Operands: for every block, in the order of their sources, its indices [nnz], indptr [n_pre + 1] and weights, [nnz] or one;
// then the `targets` arrays [n], to which everything is added; then the sources, spikes [n] each. Results: the targets, which
// are aliased operands. Of a batch, targets and sources have as many vectors [n], and weights may have. `layout` has six
// numbers a block: the number of its source, the first neuron there, the number of its target, the first entry there, the
// number of entries, and whether there is one weight for every synapse.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "blocks_problem.h"
#include "csr_shared.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::many {
namespace {

// Delivers all by several threads; if a row is not sorted, the targets are again what they were, and the answer is false.
template <typename T>
bool shared(ffi::ThreadPool& pool, int64_t parts, const Problem<T>& p) {
  std::unique_ptr<T[]> saved;  // there only if threads share the work: it costs little of what they do
  int64_t starts[kMostTargets + 1] = {0};
  for (int64_t t = 0; t < p.n_targets; ++t) starts[t + 1] = starts[t] + p.sizes[t];
  const auto share = [&](auto run) {
    if (!saved) saved.reset(new T[static_cast<size_t>(starts[p.n_targets])]);
    parallel(pool, parts, run);
  };
  const auto save = [&](int64_t i, int64_t n) {
    for (int64_t t = 0; t < p.n_targets && saved; ++t) {
      const Part part = part_of(p.sizes[t], i, n, 0, p.sizes[t]);
      std::copy_n(p.targets[t] + part.first, part.size, saved.get() + starts[t] + part.first);
    }
  };
  if (deliver_shared(p.sources, p.n_sources, parts, share, save)) return true;
  for (int64_t t = 0; t < p.n_targets; ++t) std::copy_n(saved.get() + starts[t], p.sizes[t], p.targets[t]);
  return false;
}

template <typename T>
void alone(const Problem<T>& p) {
  for (const Source<T>* s = p.sources; s != p.sources + p.n_sources; ++s)
    deliver_blocks(s->spikes, s->n, s->blocks, s->n_blocks);
}

ffi::Error blocks(ffi::ThreadPool pool, ffi::Operands args, ffi::Results rets, int64_t batch,
                  ffi::Span layout) {
  return dispatch(batch, layout, rets, [&](auto zero) {
    using T = decltype(zero);
    Problem<T> p;
    const auto alias = [](const Any& operand, const Any& result) {  // a copy, if XLA still needs what was there
      if (operand.untyped_data() != result.untyped_data())
        std::memcpy(result.untyped_data(), operand.untyped_data(), operand.size_bytes());
      return ffi::Error::Success();
    };
    if (ffi::Error error = check(args, rets, batch, layout, alias, &p); error.failure()) return error;
    const int64_t parts = batch > 1 || p.nnz < kWorthSharing ? 1 : most_parts(pool);
    if (parts > 1 && shared(pool, parts, p)) return ffi::Error::Success();
    int64_t n = 0;
    for (int64_t s = 0; s < p.n_sources; ++s) n += p.sources[s].n;
    each_vector(pool, batch, n, [&](int64_t b) {
      Problem<T> mine;
      of_vector(p, b, &mine);
      alone(mine);
    });
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim::many

BRAINSIM_HANDLER(brainsim_blocks, many::blocks, "batch", "layout")
