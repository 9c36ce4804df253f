// Many sparse matrices in compressed rows, delivered in one call; nothing here knows of XLA. No loop leaves its buffers.

#ifndef BRAINSIM_BLOCKS_KERNELS_H_
#define BRAINSIM_BLOCKS_KERNELS_H_

#include <algorithm>
#include <cstdint>

#include "csr_kernels.h"
#include "layout.h"
#include "search.h"

namespace brainsim {

// Calls `visit(block, rows, count)` for the spiking rows that each block has.
template <typename T, typename Visit>
void for_blocks(const Block<T>* blocks, int64_t n_blocks, const int32_t* spiking, int64_t found, Visit visit) {
  for (const Block<T>* block = blocks; block != blocks + n_blocks; ++block) {
    const int32_t* end = spiking + found;
    const int32_t* begin = std::lower_bound(spiking, end, block->first_pre);
    end = std::lower_bound(begin, end, block->first_pre + block->rows.n_pre);
    visit(*block, begin, end - begin);
  }
}

template <typename T>
inline void prefetch_first(const Block<T>& block, const int32_t* rows, int64_t count) {
  for (int64_t k = 0; k < std::min(count, kAhead); ++k) {
    const int64_t row = rows[k] - block.first_pre;
    block.each ? prefetch_row<T, true>(block.rows, block.weights, row) : prefetch_row<T, false>(block.rows, nullptr, row);
  }
}

template <typename T>
inline void deliver_block(const Block<T>& block, const int32_t* rows, int64_t count, const T* spikes) {
  block.each ? deliver_rows<T, true>(block.rows, rows, count, block.first_pre, spikes, block.weights, T{1}, block.out)
             : deliver_rows<T, false>(block.rows, rows, count, block.first_pre, spikes, nullptr, *block.weights, block.out);
}

// Adds what the spikes of one source cause through each of its blocks; the source is searched once, and the first rows of
// every block are on their way from memory before any of them is delivered.
template <typename T>
void deliver_blocks(const T* spikes, int64_t n, const Block<T>* blocks, int64_t n_blocks) {
  for_spikes(spikes, n, [&](const int32_t* spiking, int64_t found) {
    for_blocks(blocks, n_blocks, spiking, found, [&](const Block<T>& block, const int32_t* rows, int64_t count) {
      for (int64_t k = 0; k < std::min(count, 2 * kAhead); ++k) prefetch_bounds(block.rows, rows[k] - block.first_pre);
    });
    for_blocks(blocks, n_blocks, spiking, found, prefetch_first<T>);
    for_blocks(blocks, n_blocks, spiking, found, [&](const Block<T>& block, const int32_t* rows, int64_t count) {
      deliver_block(block, rows, count, spikes);
    });
  });
}

}  // namespace brainsim

#endif  // BRAINSIM_BLOCKS_KERNELS_H_
