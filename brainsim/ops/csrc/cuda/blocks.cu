// CUDA twin of blocks.cc: the same operands, the same checks; one kernel for each block. There is no batch.

#include "../blocks_problem.h"
#include "launch.h"
#include "products.h"

namespace brainsim::many {
namespace {

using namespace cuda;

ffi::Error blocks(cudaStream_t stream, ffi::Operands args, ffi::Results rets, int64_t batch,
                  ffi::Span layout) {
  if (batch != 1) return invalid("a GPU delivers batches one product after the other");  // see ops/_blocks.py
  return dispatch(batch, layout, rets, [&](auto zero) {
    using T = decltype(zero);
    Problem<T> p;
    const auto in_place = [&](const Any& operand, const Any& result) { return alias(stream, operand, result); };
    BRAINSIM_TRY(check(args, rets, batch, layout, in_place, &p));
    for (int64_t s = 0; s < p.n_sources; ++s) {
      for (int64_t b = 0; b < p.sources[s].n_blocks; ++b) {
        const Block<T>& block = p.sources[s].blocks[b];
        BRAINSIM_TRY(launch(stream, scatter_rows<T, T, Rows>, block.rows.n_pre * kLanes, block.rows, 1,
                            p.sources[s].spikes + block.first_pre, block.weights, block.each, block.out));
      }
    }
    return ffi::Error::Success();
  });
}

}  // namespace
}  // namespace brainsim::many

BRAINSIM_HANDLER(brainsim_blocks, many::blocks, "batch", "layout")
