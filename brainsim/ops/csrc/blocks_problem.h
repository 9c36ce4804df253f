// Many products on compressed rows in one call, read from the operands and checked; blocks.cc says what these are.

#ifndef BRAINSIM_BLOCKS_PROBLEM_H_
#define BRAINSIM_BLOCKS_PROBLEM_H_

#include <cstdint>
#include <limits>

#include "csr_problem.h"
#include "layout.h"

namespace brainsim::many {

using csr::invalid;

constexpr int64_t kMostBlocks = 256;  // on the stack: no kernel allocates
constexpr size_t kFields = 5;

template <typename T>
struct Source {
  const T* spikes;
  int64_t n, first, n_blocks;  // its blocks, first of all from `first` on
};

template <typename T>
struct Problem {
  Block<T> blocks[kMostBlocks];
  Source<T> sources[kMostBlocks];  // those that have blocks
  int64_t n_sources = 0, n_out = 0;
};

template <typename T>
ffi::Error check(ffi::RemainingArgs args, ffi::Span<const int64_t> layout, const Any& out, Problem<T>* p) {
  const auto n_blocks = static_cast<int64_t>(layout.size() / kFields);
  p->n_out = count(out);
  size_t next = 0;
  const auto take = [&] { return args.get<Any>(next++); };
  const auto source_of = [&](int64_t b) { return layout.begin()[b * static_cast<int64_t>(kFields)]; };
  for (int64_t b = 0; b < n_blocks; ++b) {
    const int64_t* fields = layout.begin() + b * static_cast<int64_t>(kFields);
    const bool weighted = fields[4] != 0;
    const auto given = take(), starts = take(), weight = weighted ? take() : given;
    if (!given.has_value() || !starts.has_value() || !weight.has_value()) return invalid("a block lacks an array");
    const Any indices = *given, indptr = *starts, weights = *weight;
    if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
      return invalid("indices and indptr must be int32");
    const int64_t nnz = count(indices), n_pre = count(indptr) - 1;
    if (n_pre < 0 || nnz > std::numeric_limits<int32_t>::max()) return invalid("a block has no rows, or too many synapses");
    if (fields[1] < 0 || fields[2] < 0 || fields[3] < 0 || fields[2] > p->n_out || fields[3] > p->n_out - fields[2])
      return invalid("a block ends outside of the result");
    if (weighted && (weights.element_type() != out.element_type() || count(weights) != nnz))
      return invalid("weights must have one entry per synapse, of the type of the spikes");
    if (b > 0 && fields[0] < source_of(b - 1)) return invalid("blocks must come in the order of their sources");
    p->blocks[b] = {{data<int32_t>(indices), data<int32_t>(indptr), nnz, n_pre, fields[3]},
                    fields[1],
                    fields[2],
                    weighted ? data<T>(weights) : nullptr};
  }
  const auto n_sources = static_cast<int64_t>(args.size() - next);
  int64_t first = 0;
  for (int64_t s = 0; s < n_sources; ++s) {
    const auto given = take();
    if (!given.has_value() || given->element_type() != out.element_type())
      return invalid("spikes and the result must have the same type");
    const Any spikes = *given;
    const int64_t n = count(spikes);
    if (n > std::numeric_limits<int32_t>::max()) return invalid("too many neurons for 32-bit indices");
    int64_t last = first;
    for (; last < n_blocks && source_of(last) == s; ++last)
      if (p->blocks[last].first_pre > n || p->blocks[last].rows.n_pre > n - p->blocks[last].first_pre)
        return invalid("a block begins outside of its source");
    if (last > first) p->sources[p->n_sources++] = {data<T>(spikes), n, first, last - first};
    first = last;
  }
  return first == n_blocks ? ffi::Error::Success() : invalid("a block has no source");
}

// Calls `run` with a value of the type of the result, if the layout can be read.
template <typename Run>
ffi::Error dispatch(ffi::Span<const int64_t> layout, const Any& out, Run run) {
  if (layout.size() % kFields != 0 || layout.size() / kFields > kMostBlocks)
    return invalid("five numbers a block, 256 blocks");
  if (out.element_type() == ffi::F32) return run(float{});
  if (out.element_type() == ffi::F64) return run(double{});
  return invalid("vectors must be float32 or float64");
}

}  // namespace brainsim::many

#endif  // BRAINSIM_BLOCKS_PROBLEM_H_
