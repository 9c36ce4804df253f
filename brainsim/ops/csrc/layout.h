// Where a sparse matrix is among many. Nothing here knows of XLA.

#ifndef BRAINSIM_LAYOUT_H_
#define BRAINSIM_LAYOUT_H_

#include <cstdint>

#include "rows.h"

namespace brainsim {

// A matrix whose row 0 is neuron `first_pre` of its source, and whose column 0 is where `out` begins.
template <typename T>
struct Block {
  Rows rows;
  int64_t first_pre;
  const T* weights;
  bool each;  // whether there is one weight for every synapse, or one for all
  T* out;
};

}  // namespace brainsim

#endif  // BRAINSIM_LAYOUT_H_
