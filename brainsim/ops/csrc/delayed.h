// A sparse matrix whose synapses have delays, and the ring of spikes that it looks back on. Nothing here knows of XLA.
//
// The synapses of presynaptic neuron i are sorted by delay: those of slot d, which all have the delay steps[d], are its
// segment indptr[i, d] .. indptr[i, d + 1], by postsynaptic neuron. What arrives in step k left in steps k - steps[d]:
// the spikes of these steps are rows of `history`, a ring in which step j is row j mod n_rows. So a step reads, of every
// neuron that spiked lately, one segment, and adds it into one vector that stays in the cache.
//
// `hints` list for each row of the ring the neurons whose value may not be zero: a count, then as many numbers. A count
// that does not fit means that the list is not there, and the row itself is searched. A hint does no more than save that
// search: the values are those of `history`.
//
// Whatever the index arrays hold, bounds stay within the arrays.

#ifndef BRAINSIM_DELAYED_H_
#define BRAINSIM_DELAYED_H_

#include <cstdint>

#include "portable.h"

namespace brainsim {

struct Delayed {
  const int32_t* indices;
  const int32_t* indptr;  // [n_pre, n_slots + 1]
  const int32_t* steps;   // [n_slots]
  int64_t nnz, n_pre, n_slots, n_post, n_rows, hint_size;

  BRAINSIM_HD const int32_t* pointer(int64_t pre, int64_t slot) const { return indptr + pre * (n_slots + 1) + slot; }
  BRAINSIM_HD int64_t row(int64_t k, int64_t slot) const {
    const int64_t r = (k - steps[slot]) % n_rows;
    return r < 0 ? r + n_rows : r;
  }
  BRAINSIM_HD int32_t bound(int32_t position, int32_t low) const {
    return clamped(position, low, static_cast<int32_t>(nnz));
  }
  BRAINSIM_HD bool valid(int32_t index) const { return static_cast<uint32_t>(index) < static_cast<uint32_t>(n_post); }
};

}  // namespace brainsim

#endif  // BRAINSIM_DELAYED_H_
