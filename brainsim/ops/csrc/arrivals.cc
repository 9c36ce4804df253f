// XLA FFI handlers of the operators with delays: shape checks, then the loops of arrivals_kernels.h.
//
// Shapes, with G groups that have their own weights and B vectors in each group, R rows in the ring and S slots:
//   add:     start [G, B, n_post], history [G, B, R, n_pre], hints [G, B, R, H], weights [G, nnz] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz] -> [G, B, R, n_pre]
//   outer:   history [G, B, R, n_pre], hints [G, B, R, H], values [G, B, n_post] -> [G, nnz]
// followed by indices [nnz], indptr [n_pre, S + 1], steps [S], k [G, B], all int32. Where G = B = 1 the batch axes may be
// left out altogether. `_unit` forms have no weights: every synapse has weight one.
//   compact: values [N, n] -> hints [N, H]; or [n] -> [H]

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "arrivals_kernels.h"
#include "arrivals_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::arriving {
namespace {

// Whether step k delivers enough to share the work; without hints nobody knows, and searching takes its time, too.
bool worth_threads(const Delayed& m, int64_t k, const int32_t* hints) {
  if (m.hint_size == 0 || m.n_pre == 0) return m.nnz >= kWorthThreads;
  double spikes = 0;
  for (int64_t slot = 0; slot < m.n_slots; ++slot) spikes += std::max(hints[m.row(k, slot) * m.hint_size], 0);
  return spikes * m.nnz >= static_cast<double>(kWorthThreads) * m.n_slots * m.n_pre;
}

ffi::Error add_impl(ffi::ThreadPool& pool, const Any& start, const Any& history, const Any& hints, const Any* weights,
                    const Pattern& pattern, const Any& out) {
  Problem p;
  if (ffi::Error error = check_add(start, history, hints, weights, pattern, out, &p); error.failure()) return error;
  const Delayed& m = p.matrix;
  dispatch(history, [&](auto zero) {
    using T = decltype(zero);
    if (out.untyped_data() != start.untyped_data()) std::memcpy(out.untyped_data(), start.untyped_data(), out.size_bytes());
    int64_t parts = 1;  // of the postsynaptic neurons: each is added up in the same order, whoever does it
    if (p.vectors() == 1 && worth_threads(m, p.k[0], data<int32_t>(hints)))
      parts = most_parts(pool);
    parallel(pool, p.vectors() * parts, [&](int64_t task) {
      const int64_t v = task / parts, i = task % parts;
      const int64_t first = m.n_post * i / parts, last = m.n_post * (i + 1) / parts;
      const T* x = data<T>(history) + v * m.n_rows * m.n_pre;
      const int32_t* h = data<int32_t>(hints) + v * m.n_rows * m.hint_size;
      T* y = data<T>(out) + v * m.n_post;
      if (weights == nullptr) {
        arrivals<T, false>(m, p.k[v], x, h, nullptr, {first, last - first}, y);
      } else {
        arrivals<T, true>(m, p.k[v], x, h, data<T>(*weights) + (v / p.batch) * m.nnz, {first, last - first}, y);
      }
    });
  });
  return ffi::Error::Success();
}

ffi::Error gather_impl(ffi::ThreadPool& pool, const Any& values, const Any* weights, const Pattern& pattern,
                       const Any& out) {
  Problem p;
  if (ffi::Error error = check(out, nullptr, values, weights, pattern, &p); error.failure()) return error;
  const Delayed& m = p.matrix;
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const int64_t parts = m.nnz < kWorthThreads ? 1 : std::max<int64_t>(1, pool.num_threads());
    parallel(pool, p.vectors() * parts, [&](int64_t task) {
      const int64_t v = task / parts, i = task % parts;
      const int64_t first = m.n_pre * i / parts, last = m.n_pre * (i + 1) / parts;
      const T* x = data<T>(values) + v * m.n_post;
      T* y = data<T>(out) + v * m.n_rows * m.n_pre;
      if (weights == nullptr) {
        arrivals_gather<T, false>(m, p.k[v], x, nullptr, first, last, y);
      } else {
        arrivals_gather<T, true>(m, p.k[v], x, data<T>(*weights) + (v / p.batch) * m.nnz, first, last, y);
      }
    });
  });
  return ffi::Error::Success();
}

ffi::Error add_weighted(ffi::ThreadPool pool, Any start, Any history, Any hints, Any weights, Any indices, Any indptr,
                        Any steps, Any k, Out out) {
  return add_impl(pool, start, history, hints, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error add_unit(ffi::ThreadPool pool, Any start, Any history, Any hints, Any indices, Any indptr, Any steps, Any k,
                    Out out) {
  return add_impl(pool, start, history, hints, nullptr, {indices, indptr, steps, k}, *out);
}
ffi::Error gather_weighted(ffi::ThreadPool pool, Any values, Any weights, Any indices, Any indptr, Any steps, Any k,
                           Out out) {
  return gather_impl(pool, values, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error gather_unit(ffi::ThreadPool pool, Any values, Any indices, Any indptr, Any steps, Any k, Out out) {
  return gather_impl(pool, values, nullptr, {indices, indptr, steps, k}, *out);
}

ffi::Error outer_weights(ffi::ThreadPool pool, Any history, Any hints, Any values, Any indices, Any indptr, Any steps,
                         Any k, Out out) {
  Problem p;
  if (ffi::Error error = check(history, &hints, values, &*out, {indices, indptr, steps, k}, &p); error.failure())
    return error;
  const Delayed& m = p.matrix;
  dispatch(history, [&](auto zero) {
    using T = decltype(zero);
    parallel(pool, p.groups, [&](int64_t g) {
      T* y = data<T>(*out) + g * m.nnz;
      std::fill(y, y + m.nnz, T{0});
      for (int64_t v = g * p.batch; v < (g + 1) * p.batch; ++v)
        arrivals_outer<T>(m, p.k[v], data<T>(history) + v * m.n_rows * m.n_pre,
                          data<int32_t>(hints) + v * m.n_rows * m.hint_size, data<T>(values) + v * m.n_post, y);
    });
  });
  return ffi::Error::Success();
}

ffi::Error compact_rows(Any values, Out out) {
  Lists lists;
  if (ffi::Error error = check_compact(values, *out, &lists); error.failure()) return error;
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < lists.rows; ++i)
      compact(data<T>(values) + i * lists.n, lists.n, lists.size, data<int32_t>(*out) + i * lists.size);
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim::arriving

BRAINSIM_HANDLER(brainsim_arrivals_add, arriving::add_weighted)
BRAINSIM_HANDLER(brainsim_arrivals_add_unit, arriving::add_unit)
BRAINSIM_HANDLER(brainsim_arrivals_gather, arriving::gather_weighted)
BRAINSIM_HANDLER(brainsim_arrivals_gather_unit, arriving::gather_unit)
BRAINSIM_HANDLER(brainsim_arrivals_outer, arriving::outer_weights)
BRAINSIM_HANDLER(brainsim_compact, arriving::compact_rows)
