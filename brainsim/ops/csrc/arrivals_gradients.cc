// XLA FFI handlers for reverse mode through the operators with delays (arrivals.cc): what a backward step needs of them.
//
//   accumulate: sum [G, nnz], history [G, B, R, n_pre], hints [G, B, R, H], values [G, B, n_post] -> the sum, in place
//   collect:    total [G, B, R, n_pre], values [G, B, n_post], relevant [G, B, R, n_pre] (bool), weights [G, nnz]
//               -> the total, in place; `_unit`: without weights. With R = 0 rows of `relevant`, all are.
//
// followed by indices, indptr, steps and k as in arrivals.cc. Work is proportional to the synapses at which a spike
// arrives, or at which a relevant one might.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "arrivals_gradients.h"
#include "arrivals_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::arriving {
namespace {

constexpr int64_t kWorthThreads = 1 << 16;  // synapses; fewer are looked at before another thread is awake

void copy(const Any& from, const Any& to) {  // XLA gives them one buffer, unless it still needs the first
  if (to.untyped_data() != from.untyped_data()) std::memcpy(to.untyped_data(), from.untyped_data(), to.size_bytes());
}

ffi::Error collect_impl(ffi::ThreadPool& pool, const Any& total, const Any& values, const Any& relevant,
                        const Any* weights, const Pattern& pattern, const Any& out) {
  Problem p;
  if (ffi::Error error = check_collect(total, values, relevant, weights, pattern, out, &p); error.failure())
    return error;
  const Delayed& m = p.matrix;
  copy(total, out);
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const int64_t parts = m.nnz < kWorthThreads ? 1 : std::max<int64_t>(1, pool.num_threads());
    parallel(pool, p.vectors() * parts, [&](int64_t task) {
      const int64_t v = task / parts, i = task % parts, at = v * m.n_rows * m.n_pre;
      const int64_t first = m.n_pre * i / parts, last = m.n_pre * (i + 1) / parts;
      const bool* marks = count(relevant) == 0 ? nullptr : data<bool>(relevant) + at;
      const T* x = data<T>(values) + v * m.n_post;
      T* y = data<T>(out) + at;
      if (weights == nullptr) {
        arrivals_collect<T, false>(m, p.k[v], x, nullptr, marks, first, last, y);
      } else {
        arrivals_collect<T, true>(m, p.k[v], x, data<T>(*weights) + (v / p.batch) * m.nnz, marks, first, last, y);
      }
    });
  });
  return ffi::Error::Success();
}

ffi::Error collect_weighted(ffi::ThreadPool pool, Any total, Any values, Any relevant, Any weights, Any indices,
                            Any indptr, Any steps, Any k, Out out) {
  return collect_impl(pool, total, values, relevant, &weights, {indices, indptr, steps, k}, *out);
}
ffi::Error collect_unit(ffi::ThreadPool pool, Any total, Any values, Any relevant, Any indices, Any indptr, Any steps,
                        Any k, Out out) {
  return collect_impl(pool, total, values, relevant, nullptr, {indices, indptr, steps, k}, *out);
}

ffi::Error accumulate(ffi::ThreadPool pool, Any sum, Any history, Any hints, Any values, Any indices, Any indptr,
                      Any steps, Any k, Out out) {
  Problem p;
  if (ffi::Error error = check_accumulate(sum, history, hints, values, {indices, indptr, steps, k}, *out, &p);
      error.failure())
    return error;
  const Delayed& m = p.matrix;
  copy(sum, *out);
  dispatch(history, [&](auto zero) {
    using T = decltype(zero);
    parallel(pool, p.groups, [&](int64_t g) {
      for (int64_t v = g * p.batch; v < (g + 1) * p.batch; ++v)
        arrivals_accumulate<T>(m, p.k[v], data<T>(history) + v * m.n_rows * m.n_pre,
                               data<int32_t>(hints) + v * m.n_rows * m.hint_size, data<T>(values) + v * m.n_post,
                               data<T>(*out) + g * m.nnz);
    });
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim::arriving

BRAINSIM_HANDLER(brainsim_arrivals_accumulate, arriving::accumulate)
BRAINSIM_HANDLER(brainsim_arrivals_collect, arriving::collect_weighted)
BRAINSIM_HANDLER(brainsim_arrivals_collect_unit, arriving::collect_unit)
