// The delays of synapses that are regenerated: what procedural_late_kernels.h describes. Nothing here knows of XLA.

#ifndef BRAINSIM_LATE_H_
#define BRAINSIM_LATE_H_

#include <cstdint>

#include "portable.h"

namespace brainsim {

struct Late {
  int64_t least, stride;  // of the delays, in steps
  int64_t rows;           // of the ring, no fewer than the longest delay
  const uint32_t* table;
  int64_t table_size;
};

// What is wrong with delays, or null: rows are those of the ring by construction only if nothing is.
inline const char* fault(const Late& late) {
  for (const int64_t size : {late.least, late.stride, late.rows, late.table_size})
    if (size < 0 || size > INT32_MAX) return "sizes must fit in 32 bits";
  return late.least + late.stride * late.table_size > late.rows ? "the ring is shorter than the longest delay" : nullptr;
}

// The row of the ring for the least delay of a spike that leaves in step k.
BRAINSIM_HD inline int64_t first_row(const Late& late, int64_t k) {
  return ((k + late.least) % late.rows + late.rows) % late.rows;
}

// The row of the ring for the delay that is `reached` entries of the table longer.
BRAINSIM_HD inline int64_t row_of_ring(const Late& late, int64_t first, int64_t reached) {
  const int64_t row = first + late.stride * reached;
  return row - (row >= late.rows ? late.rows : 0);
}

}  // namespace brainsim

#endif  // BRAINSIM_LATE_H_
