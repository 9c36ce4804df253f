// A sparse matrix in compressed rows, or with rows of equal length. Nothing here knows of XLA.
//
// Row i is a presynaptic neuron, its entries are its synapses: indices[begin(i) .. end(i)) are the postsynaptic neurons.
// Whatever the index arrays hold, bounds stay within the arrays, and an entry whose index lies outside [0, n_post) is not
// valid: it contributes nothing (so such entries may serve as padding).

#ifndef BRAINSIM_ROWS_H_
#define BRAINSIM_ROWS_H_

#include <cstdint>

#include "portable.h"

namespace brainsim {

struct Rows {
  const int32_t* indices;
  const int32_t* indptr;
  int64_t nnz, n_pre, n_post;

  BRAINSIM_HD int32_t begin(int64_t row) const { return clamped(indptr[row], 0, static_cast<int32_t>(nnz)); }
  BRAINSIM_HD int32_t end(int64_t row) const {
    return clamped(indptr[row + 1], begin(row), static_cast<int32_t>(nnz));
  }
  // A negative index becomes a huge unsigned one, so a single comparison checks both ends.
  BRAINSIM_HD bool valid(int32_t index) const { return static_cast<uint32_t>(index) < static_cast<uint32_t>(n_post); }
};

// Rows of k synapses each: their bounds are computed, not read.
struct EqualRows {
  const int32_t* indices;
  int64_t k, nnz, n_pre, n_post;

  BRAINSIM_HD int64_t begin(int64_t row) const { return row * k; }
  BRAINSIM_HD int64_t end(int64_t row) const { return (row + 1) * k; }
  BRAINSIM_HD bool valid(int32_t index) const { return static_cast<uint32_t>(index) < static_cast<uint32_t>(n_post); }
};

}  // namespace brainsim

#endif  // BRAINSIM_ROWS_H_
