// XLA FFI handlers of products with compressed rows whose weights are bfloat16: checks, then csr_narrow_kernels.h.
//
//   scatter: spikes [G, B, n_pre],  weights [G, nnz], indices [nnz], indptr [n_pre + 1] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz], indices [nnz], indptr [n_pre + 1] -> [G, B, n_pre]
// Vectors are float. Where G = B = 1 the batch axes may be left out.

#include <cstdint>

#include "csr_narrow_kernels.h"
#include "csr_problem.h"
#include "handlers.h"
#include "parallel.h"

namespace brainsim::csr {
namespace {

template <bool kGather>
ffi::Error handle(ffi::ThreadPool& pool, const Any& in, const Any& weights, const Any& indices, const Any& indptr,
                  const Any& out) {
  Problem p;
  if (ffi::Error error = check(kGather ? out : in, kGather ? in : out, &weights, indices, indptr, &p, true);
      error.failure())
    return error;
  each_vector(pool, p.vectors(), kGather ? p.rows.nnz : p.rows.n_pre + p.rows.n_post, [&](int64_t k) {
    const BFloat16* w = data<BFloat16>(weights) + (k / p.batch) * p.rows.nnz;
    if (kGather) {
      narrow_gather(p.rows, data<float>(in) + k * p.rows.n_post, w, data<float>(out) + k * p.rows.n_pre);
    } else {
      narrow_scatter(p.rows, data<float>(in) + k * p.rows.n_pre, w, data<float>(out) + k * p.rows.n_post);
    }
  });
  return ffi::Error::Success();
}

ffi::Error scatter_narrow(ffi::ThreadPool pool, Any spikes, Any weights, Any indices, Any indptr, Out out) {
  return handle<false>(pool, spikes, weights, indices, indptr, *out);
}
ffi::Error gather_narrow(ffi::ThreadPool pool, Any values, Any weights, Any indices, Any indptr, Out out) {
  return handle<true>(pool, values, weights, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim::csr

BRAINSIM_HANDLER(brainsim_csr_scatter_narrow, csr::scatter_narrow)
BRAINSIM_HANDLER(brainsim_csr_gather_narrow, csr::gather_narrow)
