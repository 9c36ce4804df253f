// Where a sparse matrix is among many. Nothing here knows of XLA.

#ifndef BRAINSIM_LAYOUT_H_
#define BRAINSIM_LAYOUT_H_

#include <cstdint>

#include "rows.h"

namespace brainsim {

// A matrix whose row 0 is neuron `first_pre` of its source, and whose column 0 is where `out` begins: entry `first_post` of
// a target that has `n_target` of them.
template <typename T>
struct Block {
  Rows rows;
  int64_t first_pre;
  const T* weights;
  bool each;  // whether there is one weight for every synapse, or one for all
  T* out;
  int64_t first_post, n_target;
};

// A vector of spikes, and the blocks that begin there.
template <typename T>
struct Source {
  const T* spikes;
  int64_t n;
  const Block<T>* blocks;
  int64_t n_blocks;
};

}  // namespace brainsim

#endif  // BRAINSIM_LAYOUT_H_
