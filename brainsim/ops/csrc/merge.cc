// Several sparse matrices with the same rows, merged into one whose rows are sorted by slot (a delay, say): a counting
// sort, called through ctypes on the host while a network is built; see ops/_merge.py.
//
// Rows first .. last of each, so that threads can share them. `table` is [n_rows, n_slots + 1]. Every row and every slot
// has been checked by the caller; `where` is clamped all the same, so nothing is written out of bounds.

#include <cstdint>
#include <cstring>

#include "handlers.h"

namespace {

struct Row {
  int64_t begin, end;

  Row(const int32_t* indptr, int64_t i, int64_t size) : begin(indptr[i]), end(indptr[i + 1]) {
    if (begin < 0) begin = 0;
    if (end > size) end = size;
  }
};

template <typename T>
void place(const int32_t* indptr, const int32_t* indices, const uint16_t* slots, const T* weights, int64_t size,
           int64_t first, int64_t last, int64_t n_slots, int32_t offset, int64_t total, int32_t* table,
           int32_t* out_indices, T* out_weights) {
  for (int64_t i = first; i < last; ++i) {
    int32_t* cursor = table + i * (n_slots + 1);
    const Row row(indptr, i, size);
    for (int64_t s = row.begin; s < row.end; ++s) {
      if (slots[s] >= n_slots) continue;
      const int32_t at = cursor[slots[s]]++;
      if (at < 0 || at >= total) continue;
      out_indices[at] = indices[s] + offset;
      if (weights != nullptr) out_weights[at] = weights[s];
    }
  }
}

}  // namespace

// Adds the sizes of the segments of one matrix to the table.
BRAINSIM_EXPORT void brainsim_merge_count(const int32_t* indptr, const uint16_t* slots, int64_t size, int64_t first,
                                          int64_t last, int64_t n_slots, int32_t* table) {
  for (int64_t i = first; i < last; ++i) {
    int32_t* counts = table + i * (n_slots + 1);
    const Row row(indptr, i, size);
    for (int64_t s = row.begin; s < row.end; ++s)
      if (slots[s] < n_slots) ++counts[slots[s]];
  }
}

// Turns sizes into beginnings; the last entry of a row becomes its end.
BRAINSIM_EXPORT void brainsim_merge_begin(int64_t n_rows, int64_t n_slots, int32_t* table) {
  int32_t position = 0;
  for (int64_t i = 0; i < n_rows; ++i) {
    int32_t* row = table + i * (n_slots + 1);
    for (int64_t d = 0; d < n_slots; ++d) {
      const int32_t size = row[d];
      row[d] = position;
      position += size;
    }
    row[n_slots] = position;
  }
}

// Puts the entries of one matrix in place, its columns moved by `offset`; beginnings move on. `weights` may be null.
BRAINSIM_EXPORT void brainsim_merge_place_f32(const int32_t* indptr, const int32_t* indices, const uint16_t* slots,
                                              const float* weights, int64_t size, int64_t first, int64_t last,
                                              int64_t n_slots, int32_t offset, int64_t total, int32_t* table,
                                              int32_t* out_indices, float* out_weights) {
  place(indptr, indices, slots, weights, size, first, last, n_slots, offset, total, table, out_indices, out_weights);
}
BRAINSIM_EXPORT void brainsim_merge_place_f64(const int32_t* indptr, const int32_t* indices, const uint16_t* slots,
                                              const double* weights, int64_t size, int64_t first, int64_t last,
                                              int64_t n_slots, int32_t offset, int64_t total, int32_t* table,
                                              int32_t* out_indices, double* out_weights) {
  place(indptr, indices, slots, weights, size, first, last, n_slots, offset, total, table, out_indices, out_weights);
}

// Moves the beginnings back, after all is in place.
BRAINSIM_EXPORT void brainsim_merge_end(int64_t n_rows, int64_t n_slots, int32_t* table) {
  int32_t begin = 0;
  for (int64_t i = 0; i < n_rows; ++i) {
    int32_t* row = table + i * (n_slots + 1);
    std::memmove(row + 1, row, static_cast<size_t>(n_slots) * sizeof(int32_t));
    row[0] = begin;
    begin = row[n_slots];
  }
}
