// Many sparse matrices in compressed rows, delivered in one call; nothing here knows of XLA. No loop leaves its buffers.

#ifndef BRAINSIM_BLOCKS_KERNELS_H_
#define BRAINSIM_BLOCKS_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "csr_kernels.h"
#include "search.h"

namespace brainsim {

// A matrix whose row 0 is neuron `first_pre` of its source, and whose column 0 is entry `first_post` of the result.
template <typename T>
struct Block {
  Rows rows;
  int64_t first_pre, first_post;
  const T* weights;  // null: every synapse has weight one
};

template <typename T, bool kWeighted>
void deliver_block(const Block<T>& block, const int32_t* spiking, int64_t n, const T* spikes, T* out) {
  for (int64_t k = 0; k < std::min(n, kAhead); ++k)
    prefetch_row<T, kWeighted>(block.rows, block.weights, spiking[k] - block.first_pre);
  deliver_rows<T, kWeighted>(block.rows, spiking, n, block.first_pre, spikes, block.weights, out + block.first_post);
}

// Adds to `out` what the spikes of one source cause through each of its blocks; the source is searched once.
template <typename T>
void deliver_blocks(const T* spikes, int64_t n, const Block<T>* blocks, int64_t n_blocks, T* out) {
  for_spikes(spikes, n, [&](const int32_t* spiking, int64_t found) {
    for (const Block<T>* block = blocks; block != blocks + n_blocks; ++block) {
      const int32_t* end = spiking + found;
      const int32_t* begin = std::lower_bound(spiking, end, block->first_pre);
      end = std::lower_bound(begin, end, block->first_pre + block->rows.n_pre);
      if (block->weights == nullptr) {
        deliver_block<T, false>(*block, begin, end - begin, spikes, out);
      } else {
        deliver_block<T, true>(*block, begin, end - begin, spikes, out);
      }
    }
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_BLOCKS_KERNELS_H_
