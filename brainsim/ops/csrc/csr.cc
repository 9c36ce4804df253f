// XLA FFI handlers of the event-driven operators on compressed rows: shape checks, then the loops of csr_kernels.h.
//
// Shapes, with G groups that have their own weights and B vectors in each group:
//   scatter: spikes [G, B, n_pre],  weights [G, nnz] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz] -> [G, B, n_pre]
//   outer:   spikes [G, B, n_pre],  values [G, B, n_post] -> [G, nnz]
// Where G = B = 1 the batch axes may be left out altogether.
// `_unit` forms have no weights: every synapse has weight one. All take indices [nnz] and indptr [n_pre + 1], int32.

#include <cstdint>

#include "csr_kernels.h"
#include "csr_problem.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim::csr {
namespace {

ffi::Error scatter_impl(const Any& spikes, const Any* weights, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(spikes, out, weights, indices, indptr, &p); error.failure()) return error;
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t k = 0; k < p.vectors(); ++k) {
      const T* x = data<T>(spikes) + k * p.rows.n_pre;
      T* y = data<T>(out) + k * p.rows.n_post;
      if (weights == nullptr) {
        scatter<T, false>(p.rows, x, nullptr, y);
      } else {
        scatter<T, true>(p.rows, x, data<T>(*weights) + (k / p.batch) * p.rows.nnz, y);
      }
    }
  });
}

ffi::Error gather_impl(const Any& values, const Any* weights, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(out, values, weights, indices, indptr, &p); error.failure()) return error;
  return dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t k = 0; k < p.vectors(); ++k) {
      const T* x = data<T>(values) + k * p.rows.n_post;
      T* y = data<T>(out) + k * p.rows.n_pre;
      if (weights == nullptr) {
        gather<T, false>(p.rows, x, nullptr, y);
      } else {
        gather<T, true>(p.rows, x, data<T>(*weights) + (k / p.batch) * p.rows.nnz, y);
      }
    }
  });
}

ffi::Error outer_impl(const Any& spikes, const Any& values, const Any& indices, const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check_outer(spikes, values, indices, indptr, out, &p); error.failure()) return error;
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t g = 0; g < p.groups; ++g)
      outer<T>(p.rows, p.batch, data<T>(spikes) + g * p.batch * p.rows.n_pre,
               data<T>(values) + g * p.batch * p.rows.n_post, data<T>(out) + g * p.rows.nnz);
  });
}

ffi::Error scatter_weighted(Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return scatter_impl(spikes, &weights, indices, indptr, *out);
}
ffi::Error scatter_unit(Any spikes, Any indices, Any indptr, Out out) {
  return scatter_impl(spikes, nullptr, indices, indptr, *out);
}
ffi::Error gather_weighted(Any values, Any weights, Any indices, Any indptr, Out out) {
  return gather_impl(values, &weights, indices, indptr, *out);
}
ffi::Error gather_unit(Any values, Any indices, Any indptr, Out out) {
  return gather_impl(values, nullptr, indices, indptr, *out);
}
ffi::Error outer_weights(Any spikes, Any values, Any indices, Any indptr, Out out) {
  return outer_impl(spikes, values, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim::csr

#define BRAINSIM_THREE \
  xla::ffi::Ffi::Bind().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>().Arg<xla::ffi::AnyBuffer>()
#define BRAINSIM_FOUR BRAINSIM_THREE.Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_csr_scatter, csr::scatter_weighted, BRAINSIM_FOUR)
BRAINSIM_HANDLER(brainsim_csr_scatter_unit, csr::scatter_unit, BRAINSIM_THREE)
BRAINSIM_HANDLER(brainsim_csr_gather, csr::gather_weighted, BRAINSIM_FOUR)
BRAINSIM_HANDLER(brainsim_csr_gather_unit, csr::gather_unit, BRAINSIM_THREE)
BRAINSIM_HANDLER(brainsim_csr_outer, csr::outer_weights, BRAINSIM_FOUR)

// The Python side refuses a library built from other sources than its own; see ops/_library.py.
BRAINSIM_EXPORT const char* brainsim_abi() { return "18"; }
