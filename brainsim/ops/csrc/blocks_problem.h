// Many products on compressed rows in one call, read from the operands and checked; blocks.cc says what these are.

#ifndef BRAINSIM_BLOCKS_PROBLEM_H_
#define BRAINSIM_BLOCKS_PROBLEM_H_

#include <cstdint>
#include <limits>

#include "csr_problem.h"
#include "layout.h"

namespace brainsim::many {

using csr::invalid;

constexpr int64_t kMostBlocks = 256, kMostTargets = 64;  // on the stack: no kernel allocates
constexpr int64_t kFields = 6;

template <typename T>
struct Problem {
  Block<T> blocks[kMostBlocks];
  int64_t own_weights[kMostBlocks];  // how many weights each vector of a batch has for itself; 0 if they share them
  Source<T> sources[kMostBlocks];    // those that have blocks
  int64_t n_blocks = 0, n_sources = 0, n_targets = 0, nnz = 0;
  T* targets[kMostTargets];
  int64_t sizes[kMostTargets];
};

// What there is to do for vector `b` of a batch, given that for the first one.
template <typename T>
void of_vector(const Problem<T>& first, int64_t b, Problem<T>* p) {
  p->n_blocks = first.n_blocks, p->n_sources = first.n_sources, p->n_targets = first.n_targets, p->nnz = first.nnz;
  for (int64_t t = 0; t < p->n_targets; ++t) {
    p->sizes[t] = first.sizes[t];
    p->targets[t] = first.targets[t] + b * p->sizes[t];
  }
  for (int64_t k = 0; k < p->n_blocks; ++k) {
    p->blocks[k] = first.blocks[k];
    p->blocks[k].out += b * p->blocks[k].n_target;
    p->blocks[k].weights += b * first.own_weights[k];
  }
  for (int64_t s = 0; s < p->n_sources; ++s) {
    const Source<T>& source = first.sources[s];
    p->sources[s] = {source.spikes + b * source.n, source.n, p->blocks + (source.blocks - first.blocks), source.n_blocks};
  }
}

// The problem of the first of `batch` vectors. Calls `alias(operand, result)` for each target, which is to make the one the
// other, in place or by a copy.
template <typename T, typename Alias>
ffi::Error check(ffi::Operands args, ffi::Results rets, int64_t batch, ffi::Span layout,
                 Alias alias, Problem<T>* p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  constexpr ffi::DataType type = sizeof(T) == 4 ? ffi::F32 : ffi::F64;
  const auto n_blocks = static_cast<int64_t>(layout.size()) / kFields, n_targets = static_cast<int64_t>(rets.size());
  size_t next = static_cast<size_t>(3 * n_blocks);
  if (args.size() < next + rets.size()) return invalid("there are fewer operands than expected");

  T** const targets = p->targets;
  int64_t* const sizes = p->sizes;
  p->n_targets = n_targets;
  p->n_blocks = n_blocks;
  for (int64_t t = 0; t < n_targets; ++t) {
    const Any given = args[next++], result = rets[static_cast<size_t>(t)];
    if (given.element_type() != type || result.element_type() != type || result.size_bytes() != given.size_bytes())
      return invalid("a target must be of the type of the others, and its result like it");
    targets[t] = data<T>(result);
    sizes[t] = count(given) / batch;
    if (sizes[t] * batch != count(given)) return invalid("a target has no vector for each of the batch");
    if (sizes[t] > kMost) return invalid("too many neurons for 32-bit indices");
    if (ffi::Error error = alias(given, result); error.failure()) return error;
  }

  for (int64_t b = 0; b < n_blocks; ++b) {
    const int64_t* at = layout.begin() + b * kFields;
    const auto array = [&](int64_t i) { return args[static_cast<size_t>(3 * b + i)]; };
    const Any indices = array(0), indptr = array(1), weights = array(2);
    if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
      return invalid("indices and indptr must be int32");
    const int64_t nnz = count(indices), n_pre = count(indptr) - 1;
    if (n_pre < 0 || nnz > kMost) return invalid("a block has no rows, or too many synapses");
    if (at[2] < 0 || at[2] >= n_targets) return invalid("a block has no target");
    if (at[1] < 0 || at[3] < 0 || at[4] < 0 || at[3] > sizes[at[2]] || at[4] > sizes[at[2]] - at[3])
      return invalid("a block ends outside of its target");
    const bool each = at[5] != 0;
    const int64_t n_weights = each ? nnz : 1, given = count(weights);
    if (weights.element_type() != type || (given != n_weights && (given % batch != 0 || given / batch != n_weights)))
      return invalid("weights must be one, or one per synapse, of the type of the spikes");
    p->own_weights[b] = given == n_weights ? 0 : n_weights;
    if (b > 0 && at[0] < at[-kFields]) return invalid("blocks must come in the order of their sources");
    p->nnz += nnz;
    p->blocks[b] = {{data<int32_t>(indices), data<int32_t>(indptr), nnz, n_pre, at[4]},
                    at[1],
                    data<T>(weights),
                    each,
                    targets[at[2]] + at[3],
                    at[3],
                    sizes[at[2]]};
  }

  int64_t first = 0;
  for (int64_t s = 0; next < args.size(); ++s) {
    const Any spikes = args[next++];
    if (spikes.element_type() != type) return invalid("spikes and targets must have the same type");
    const int64_t n = count(spikes) / batch;
    if (n * batch != count(spikes)) return invalid("a source has no vector for each of the batch");
    if (n > kMost) return invalid("too many neurons for 32-bit indices");
    int64_t last = first;
    for (; last < n_blocks && layout.begin()[last * kFields] == s; ++last)
      if (p->blocks[last].first_pre > n || p->blocks[last].rows.n_pre > n - p->blocks[last].first_pre)
        return invalid("a block begins outside of its source");
    if (last > first) p->sources[p->n_sources++] = {data<T>(spikes), n, p->blocks + first, last - first};
    first = last;
  }
  return first == n_blocks ? ffi::Error::Success() : invalid("a block has no source");
}

// Calls `run` with a value of the type of the results, if there is anything to do and the layout can be read.
template <typename Run>
ffi::Error dispatch(int64_t batch, ffi::Span layout, ffi::Results rets, Run run) {
  if (batch < 0) return invalid("a batch has 0 or more vectors");
  const auto size = static_cast<int64_t>(layout.size());
  if (size % kFields != 0 || size / kFields > kMostBlocks) return invalid("six numbers a block, 256 blocks");
  if (rets.size() == 0 || rets.size() > static_cast<size_t>(kMostTargets)) return invalid("there must be 1 to 64 targets");
  const Any first = rets[0];
  if (batch == 0) return count(first) == 0 ? ffi::Error::Success() : invalid("a target has vectors, but the batch has none");
  if (first.element_type() == ffi::F32) return run(float{});
  if (first.element_type() == ffi::F64) return run(double{});
  return invalid("vectors must be float32 or float64");
}

}  // namespace brainsim::many

#endif  // BRAINSIM_BLOCKS_PROBLEM_H_
