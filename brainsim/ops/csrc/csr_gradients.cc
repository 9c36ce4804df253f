// XLA FFI handlers for reverse mode through the products on compressed rows (csr.cc): what a backward step needs of them.
//
//   gather of some rows: values [G, B, n_post], weights [G, nnz], indices, indptr, relevant [G, B, n_pre] (bool)
//                        -> [G, B, n_pre], zero where not relevant; `_unit`: without weights
//   accumulated outer:   sum [G, nnz], spikes [G, B, n_pre], values [G, B, n_post], indices, indptr -> the sum, in place
//
// Work is proportional to the synapses of the relevant, or spiking, neurons.

#include <algorithm>
#include <cstdint>

#include "csr_gradients.h"
#include "csr_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::csr {
namespace {

ffi::Error gather_impl(ffi::ThreadPool& pool, const Any& values, const Any* weights, const Any& indices, const Any& indptr,
                       const Any& relevant, const Any& out) {
  Problem p;
  if (ffi::Error error = check_relevant(values, weights, indices, indptr, relevant, out, &p); error.failure())
    return error;
  return dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    each_vector(pool, p.vectors(), p.rows.n_pre, [&](int64_t k) {
      const T* x = data<T>(values) + k * p.rows.n_post;
      const bool* mask = data<bool>(relevant) + k * p.rows.n_pre;
      T* y = data<T>(out) + k * p.rows.n_pre;
      if (weights == nullptr) {
        gather_relevant<T, false>(p.rows, x, nullptr, mask, y);
      } else {
        gather_relevant<T, true>(p.rows, x, data<T>(*weights) + (k / p.batch) * p.rows.nnz, mask, y);
      }
    });
  });
}

ffi::Error accumulate_impl(ffi::ThreadPool& pool, const Any& sum, const Any& spikes, const Any& values,
                           const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check_accumulate(sum, spikes, values, indices, indptr, out, &p); error.failure()) return error;
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    T* y = data<T>(out);
    if (y != data<T>(sum)) std::copy(data<T>(sum), data<T>(sum) + sum.element_count(), y);  // XLA gives them one buffer
    each_vector(pool, p.groups, p.batch * p.rows.n_pre, [&](int64_t g) {
      for (int64_t k = g * p.batch; k < (g + 1) * p.batch; ++k)
        accumulate_outer<T>(p.rows, data<T>(spikes) + k * p.rows.n_pre, data<T>(values) + k * p.rows.n_post,
                            y + g * p.rows.nnz);
    });
  });
}

ffi::Error gather_weighted(ffi::ThreadPool pool, Any values, Any weights, Any indices, Any indptr, Any relevant, Out out) {
  return gather_impl(pool, values, &weights, indices, indptr, relevant, *out);
}
ffi::Error gather_unit(ffi::ThreadPool pool, Any values, Any indices, Any indptr, Any relevant, Out out) {
  return gather_impl(pool, values, nullptr, indices, indptr, relevant, *out);
}
ffi::Error accumulate(ffi::ThreadPool pool, Any sum, Any spikes, Any values, Any indices, Any indptr, Out out) {
  return accumulate_impl(pool, sum, spikes, values, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim::csr

BRAINSIM_HANDLER(brainsim_csr_gather_relevant, csr::gather_weighted)
BRAINSIM_HANDLER(brainsim_csr_gather_relevant_unit, csr::gather_unit)
BRAINSIM_HANDLER(brainsim_csr_accumulate, csr::accumulate)
