// CUDA twins of the operators with delays in arrivals.cc and arrivals_gradients.cc: the same operands, the same checks.
// lists.cu has `compact`.

#include "../arrivals_problem.h"
#include "launch.h"

namespace brainsim::arriving {
namespace {

using namespace cuda;

constexpr int64_t kTeams = 1024;  // of kLanes threads, at most, that share the spikes of a row of the ring

// Calls `found(v, slot, pre, value, lane)` for every spike that arrives in vector v, on all kLanes threads of a team.
template <typename T, typename Found>
__device__ void for_arrivals(int64_t n, int64_t teams, const Delayed& m, const int32_t* k, const T* history,
                             const int32_t* hints, Found found) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kLanes, team = piece / kLanes % teams, at = piece / kLanes / teams;
    const int64_t slot = at % m.n_slots, v = at / m.n_slots, row = v * m.n_rows + m.row(k[v], slot);
    const T* x = history + row * m.n_pre;
    const int32_t* hint = hints + row * m.hint_size;
    const int64_t listed = m.hint_size > 0 ? hint[0] : -1;
    const bool usable = listed >= 0 && listed < m.hint_size;
    const int64_t candidates = usable ? listed : m.n_pre;
    for (int64_t i = team; i < candidates; i += teams) {
      const int64_t pre = usable ? hint[1 + i] : i;
      if (pre < 0 || pre >= m.n_pre || magnitude_bits(x[pre]) == 0) continue;
      found(v, slot, pre, x[pre], lane);
    }
  }
}

template <typename T>
__global__ void add_arrivals(int64_t n, int64_t teams, Delayed m, int64_t batch, const int32_t* k, const T* history,
                             const int32_t* hints, const T* weights, T* out) {
  for_arrivals(n, teams, m, k, history, hints, [&](int64_t v, int64_t slot, int64_t pre, T value, int64_t lane) {
    const T* w = weights == nullptr ? nullptr : weights + (v / batch) * m.nnz;
    const int32_t begin = m.bound(m.pointer(pre, slot)[0], 0), end = m.bound(m.pointer(pre, slot)[1], begin);
    for (int64_t j = begin + lane; j < end; j += kLanes)
      if (m.valid(m.indices[j])) atomicAdd(out + v * m.n_post + m.indices[j], w == nullptr ? value : w[j] * value);
  });
}

template <typename T>
__global__ void outer_arrivals(int64_t n, int64_t teams, Delayed m, int64_t batch, const int32_t* k, const T* history,
                               const int32_t* hints, const T* values, T* out) {
  for_arrivals(n, teams, m, k, history, hints, [&](int64_t v, int64_t slot, int64_t pre, T value, int64_t lane) {
    T* y = out + (v / batch) * m.nnz;
    const int32_t begin = m.bound(m.pointer(pre, slot)[0], 0), end = m.bound(m.pointer(pre, slot)[1], begin);
    for (int64_t j = begin + lane; j < end; j += kLanes)
      if (m.valid(m.indices[j])) atomicAdd(y + j, value * values[v * m.n_post + m.indices[j]]);
  });
}

// out[row, pre] += weight * values[post] over the synapses of one slot of `pre`, where `relevant` (or null).
template <typename T>
__global__ void gather_arrivals(int64_t n, Delayed m, int64_t batch, const int32_t* k, const T* values,
                                const T* weights, const bool* relevant, T* out) {
  for (int64_t piece = first_piece(); piece < n; piece += all_threads()) {
    const int64_t lane = piece % kFewLanes, at = piece / kFewLanes, slot = at % m.n_slots, pre = at / m.n_slots % m.n_pre;
    const int64_t v = at / m.n_slots / m.n_pre, place = (v * m.n_rows + m.row(k[v], slot)) * m.n_pre + pre;
    if (relevant != nullptr && !relevant[place]) continue;
    const T* w = weights == nullptr ? nullptr : weights + (v / batch) * m.nnz;
    const T* x = values + v * m.n_post;
    const int32_t begin = m.bound(m.pointer(pre, slot)[0], 0), end = m.bound(m.pointer(pre, slot)[1], begin);
    T sum = 0;
    for (int64_t j = begin + lane; j < end; j += kFewLanes)
      if (m.valid(m.indices[j])) sum += w == nullptr ? x[m.indices[j]] : w[j] * x[m.indices[j]];
    if (begin + lane < end) atomicAdd(out + place, sum);
  }
}

int64_t teams_of(const Delayed& m) { return std::min(std::max(m.n_pre, m.hint_size), kTeams); }

ffi::Error add_impl(cudaStream_t stream, const Any& start, const Any& history, const Any& hints, const Any* weights,
                    const Pattern& pattern, const Any& out) {
  Problem p{};
  BRAINSIM_TRY(check_add(start, history, hints, weights, pattern, out, &p));
  BRAINSIM_TRY(alias(stream, start, out));
  const Delayed& m = p.matrix;
  return typed(history, weights, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, add_arrivals<T>, p.vectors() * m.n_slots * teams_of(m) * kLanes, teams_of(m), m, p.batch, p.k,
                  data<const T>(history), data<const int32_t>(hints),
                  weights == nullptr ? nullptr : data<const T>(*weights), data<T>(out));
  });
}

ffi::Error gathered(cudaStream_t stream, const Problem& p, const Any& values, const Any* weights, const bool* relevant,
                    const Any& out) {
  const Delayed& m = p.matrix;
  return typed(values, weights, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, gather_arrivals<T>, p.vectors() * m.n_pre * m.n_slots * kFewLanes, m, p.batch, p.k,
                  data<const T>(values), weights == nullptr ? nullptr : data<const T>(*weights), relevant, data<T>(out));
  });
}

ffi::Error gather_impl(cudaStream_t stream, const Any& values, const Any* weights, const Pattern& pattern,
                       const Any& out) {
  Problem p{};
  BRAINSIM_TRY(check(out, nullptr, values, weights, pattern, &p));
  BRAINSIM_TRY(clear(stream, out));
  return gathered(stream, p, values, weights, nullptr, out);
}

ffi::Error collect_impl(cudaStream_t stream, const Any& total, const Any& values, const Any& relevant,
                        const Any* weights, const Pattern& pattern, const Any& out) {
  Problem p{};
  BRAINSIM_TRY(check_collect(total, values, relevant, weights, pattern, out, &p));
  BRAINSIM_TRY(alias(stream, total, out));
  return gathered(stream, p, values, weights, count(relevant) == 0 ? nullptr : data<const bool>(relevant), out);
}

ffi::Error outer_sums(cudaStream_t stream, const Problem& p, const Any& history, const Any& hints, const Any& values,
                      const Any& out) {
  const Delayed& m = p.matrix;
  return typed(history, nullptr, [&](auto zero, auto) {
    using T = decltype(zero);
    return launch(stream, outer_arrivals<T>, p.vectors() * m.n_slots * teams_of(m) * kLanes, teams_of(m), m, p.batch,
                  p.k, data<const T>(history), data<const int32_t>(hints), data<const T>(values), data<T>(out));
  });
}

ffi::Error add(cudaStream_t stream, Any start, Any history, Any hints, Any weights, Any indices, Any indptr, Any steps,
               Any k, Out out) {
  return add_impl(stream, start, history, hints, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error add_unit(cudaStream_t stream, Any start, Any history, Any hints, Any indices, Any indptr, Any steps, Any k,
                    Out out) {
  return add_impl(stream, start, history, hints, nullptr, {indices, indptr, steps, k}, *out);
}
ffi::Error gather(cudaStream_t stream, Any values, Any weights, Any indices, Any indptr, Any steps, Any k, Out out) {
  return gather_impl(stream, values, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error gather_unit(cudaStream_t stream, Any values, Any indices, Any indptr, Any steps, Any k, Out out) {
  return gather_impl(stream, values, nullptr, {indices, indptr, steps, k}, *out);
}
ffi::Error outer(cudaStream_t stream, Any history, Any hints, Any values, Any indices, Any indptr, Any steps, Any k,
                 Out out) {
  Problem p{};
  BRAINSIM_TRY(check(history, &hints, values, &*out, {indices, indptr, steps, k}, &p));
  BRAINSIM_TRY(clear(stream, *out));
  return outer_sums(stream, p, history, hints, values, *out);
}
ffi::Error accumulate(cudaStream_t stream, Any sum, Any history, Any hints, Any values, Any indices, Any indptr,
                      Any steps, Any k, Out out) {
  Problem p{};
  BRAINSIM_TRY(check_accumulate(sum, history, hints, values, {indices, indptr, steps, k}, *out, &p));
  BRAINSIM_TRY(alias(stream, sum, *out));
  return outer_sums(stream, p, history, hints, values, *out);
}
ffi::Error collect(cudaStream_t stream, Any total, Any values, Any relevant, Any weights, Any indices, Any indptr,
                   Any steps, Any k, Out out) {
  return collect_impl(stream, total, values, relevant, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error collect_unit(cudaStream_t stream, Any total, Any values, Any relevant, Any indices, Any indptr, Any steps,
                        Any k, Out out) {
  return collect_impl(stream, total, values, relevant, nullptr, {indices, indptr, steps, k}, *out);
}

}  // namespace
}  // namespace brainsim::arriving

BRAINSIM_HANDLER(brainsim_arrivals_add, arriving::add)
BRAINSIM_HANDLER(brainsim_arrivals_add_unit, arriving::add_unit)
BRAINSIM_HANDLER(brainsim_arrivals_gather, arriving::gather)
BRAINSIM_HANDLER(brainsim_arrivals_gather_unit, arriving::gather_unit)
BRAINSIM_HANDLER(brainsim_arrivals_outer, arriving::outer)
BRAINSIM_HANDLER(brainsim_arrivals_accumulate, arriving::accumulate)
BRAINSIM_HANDLER(brainsim_arrivals_collect, arriving::collect)
BRAINSIM_HANDLER(brainsim_arrivals_collect_unit, arriving::collect_unit)
