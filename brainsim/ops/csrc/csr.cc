// XLA FFI handlers of the event-driven operators on compressed rows: shape checks, then the loops of csr_kernels.h.
//
// Shapes, with G groups that have their own weights and B vectors in each group:
//   scatter: spikes [G, B, n_pre],  weights [G, nnz] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz] -> [G, B, n_pre]
//   outer:   spikes [G, B, n_pre],  values [G, B, n_post] -> [G, nnz]
// Where G = B = 1 the batch axes may be left out altogether.
// `_unit` forms have no weights: every synapse has weight one. All take indices [nnz] and indptr [n_pre + 1], int32.

#include <algorithm>
#include <cstdint>

#include "csr_problem.h"
#include "csr_shared.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::csr {
namespace {

// One vector, shared by parts of the postsynaptic neurons: a block that is all of its source and of its target.
template <typename T>
bool scatter_shared(ffi::ThreadPool& pool, int64_t parts, const Rows& rows, const T* x, const T* weights, T* y) {
  const T one{1};
  const bool each = weights != nullptr;
  const Block<T> block{rows, 0, each ? weights : &one, each, y, 0, rows.n_post};
  const Source<T> source{x, rows.n_pre, &block, 1};
  const auto share = [&](auto run) { parallel(pool, parts, run); };
  const auto clean = [&](int64_t i, int64_t n) {
    const Part part = part_of(rows.n_post, i, n, 0, rows.n_post);
    std::fill(y + part.first, y + part.first + part.size, T{0});
  };
  return deliver_shared(&source, 1, parts, share, clean);
}

ffi::Error scatter_impl(ffi::ThreadPool& pool, const Any& spikes, const Any* weights, const Any& indices,
                        const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(spikes, out, weights, indices, indptr, &p); error.failure()) return error;
  const Rows& rows = p.rows;
  const int64_t parts = p.vectors() > 1 || rows.nnz < kWorthSharing ? 1 : most_parts(pool);
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    each_vector(pool, p.vectors(), rows.n_pre + rows.n_post, [&](int64_t k) {
      const T* x = data<T>(spikes) + k * rows.n_pre;
      const T* w = weights == nullptr ? nullptr : data<T>(*weights) + (k / p.batch) * rows.nnz;
      T* y = data<T>(out) + k * rows.n_post;
      if (parts > 1 && scatter_shared(pool, parts, rows, x, w, y)) return;
      if (w == nullptr) {
        scatter<T, false>(rows, x, nullptr, y);
      } else {
        scatter<T, true>(rows, x, w, y);
      }
    });
  });
}

ffi::Error gather_impl(ffi::ThreadPool& pool, const Any& values, const Any* weights, const Any& indices,
                       const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check(out, values, weights, indices, indptr, &p); error.failure()) return error;
  const Rows& rows = p.rows;
  const int64_t parts = rows.nnz < kWorthThreads ? 1 : most_parts(pool);
  return dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    each_vector(pool, p.vectors() * parts, rows.nnz, [&](int64_t task) {
      const int64_t k = task / parts, i = task % parts;
      const int64_t first = rows.n_pre * i / parts, last = rows.n_pre * (i + 1) / parts;
      const T* x = data<T>(values) + k * rows.n_post;
      T* y = data<T>(out) + k * rows.n_pre;
      if (weights == nullptr) {
        gather<T, false>(rows, first, last, x, nullptr, y);
      } else {
        gather<T, true>(rows, first, last, x, data<T>(*weights) + (k / p.batch) * rows.nnz, y);
      }
    });
  });
}

ffi::Error outer_impl(ffi::ThreadPool& pool, const Any& spikes, const Any& values, const Any& indices,
                      const Any& indptr, const Any& out) {
  Problem p;
  if (ffi::Error error = check_outer(spikes, values, indices, indptr, out, &p); error.failure()) return error;
  return dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    each_vector(pool, p.groups, p.rows.nnz, [&](int64_t g) {
      outer<T>(p.rows, p.batch, data<T>(spikes) + g * p.batch * p.rows.n_pre,
               data<T>(values) + g * p.batch * p.rows.n_post, data<T>(out) + g * p.rows.nnz);
    });
  });
}

ffi::Error scatter_weighted(ffi::ThreadPool pool, Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return scatter_impl(pool, spikes, &weights, indices, indptr, *out);
}
ffi::Error scatter_unit(ffi::ThreadPool pool, Any spikes, Any indices, Any indptr, Out out) {
  return scatter_impl(pool, spikes, nullptr, indices, indptr, *out);
}
ffi::Error gather_weighted(ffi::ThreadPool pool, Any values, Any weights, Any indices, Any indptr, Out out) {
  return gather_impl(pool, values, &weights, indices, indptr, *out);
}
ffi::Error gather_unit(ffi::ThreadPool pool, Any values, Any indices, Any indptr, Out out) {
  return gather_impl(pool, values, nullptr, indices, indptr, *out);
}
ffi::Error outer_weights(ffi::ThreadPool pool, Any spikes, Any values, Any indices, Any indptr, Out out) {
  return outer_impl(pool, spikes, values, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim::csr

BRAINSIM_HANDLER(brainsim_csr_scatter, csr::scatter_weighted)
BRAINSIM_HANDLER(brainsim_csr_scatter_unit, csr::scatter_unit)
BRAINSIM_HANDLER(brainsim_csr_gather, csr::gather_weighted)
BRAINSIM_HANDLER(brainsim_csr_gather_unit, csr::gather_unit)
BRAINSIM_HANDLER(brainsim_csr_outer, csr::outer_weights)

// The Python side refuses a library built from other sources than its own; see ops/_library.py.
BRAINSIM_EXPORT const char* brainsim_abi() { return "19"; }
// The version of XLA's C interface that this is compiled for: an older XLA does not start with it.
BRAINSIM_EXPORT int brainsim_xla() { return 1000 * XLA_FFI_API_MAJOR + XLA_FFI_API_MINOR; }
