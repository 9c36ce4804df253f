// What changes where there are spikes: arrays and lists. Nothing here knows of XLA.

#ifndef BRAINSIM_TARGETS_H_
#define BRAINSIM_TARGETS_H_

#include <cstdint>

namespace brainsim {

// An array, one entry for each value that is searched, and what its entries become.
struct Target {
  char* array;
  const char* values;
  int64_t stride;  // 0: one value for all
  int64_t size;    // of an entry
  bool timed;      // an int32 that counts from now
};

// Row 0 and the rows for `capacity` spikes of the neurons first .. first + n.
struct List {
  int32_t* rows;
  int64_t capacity, first, n;
};

}  // namespace brainsim

#endif  // BRAINSIM_TARGETS_H_
