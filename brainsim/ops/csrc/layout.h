// Where a sparse matrix is among many. Nothing here knows of XLA.

#ifndef BRAINSIM_LAYOUT_H_
#define BRAINSIM_LAYOUT_H_

#include <cstdint>

#include "rows.h"

namespace brainsim {

// A matrix whose row 0 is neuron `first_pre` of its source, and whose column 0 is entry `first_post` of the result.
template <typename T>
struct Block {
  Rows rows;
  int64_t first_pre, first_post;
  const T* weights;  // null: every synapse has weight one
};

}  // namespace brainsim

#endif  // BRAINSIM_LAYOUT_H_
