// XLA FFI handlers of products with compressed rows whose weights are bfloat16: checks, then csr_narrow_kernels.h.
//
//   scatter: spikes [G, B, n_pre],  weights [G, nnz], indices [nnz], indptr [n_pre + 1] -> [G, B, n_post]
//   gather:  values [G, B, n_post], weights [G, nnz], indices [nnz], indptr [n_pre + 1] -> [G, B, n_pre]
// Vectors are float. Where G = B = 1 the batch axes may be left out.

#include <cstdint>
#include <limits>
#include <string>

#include "csr_narrow_kernels.h"
#include "handlers.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;

ffi::Error invalid(const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim CSR: ") + what); }

template <bool kGather>
ffi::Error handle(const Any& in, const Any& weights, const Any& indices, const Any& indptr, const Any& out) {
  const Any& pre = kGather ? out : in;
  const Any& post = kGather ? in : out;
  const auto x = pre.dimensions(), y = post.dimensions();
  const bool flat = x.size() == 1;
  if (x.size() != y.size() || (!flat && x.size() != 3)) return invalid("vectors must have one axis or three");
  if (!flat && (x[0] != y[0] || x[1] != y[1])) return invalid("both vectors must have the same batch axes");
  const int64_t groups = flat ? 1 : x[0], batch = flat ? 1 : x[1];
  const int64_t nnz = static_cast<int64_t>(indices.element_count());
  const Rows rows{static_cast<const int32_t*>(indices.untyped_data()), static_cast<const int32_t*>(indptr.untyped_data()),
                  nnz, x[x.size() - 1], y[y.size() - 1]};
  if (indices.element_type() != ffi::S32 || indptr.element_type() != ffi::S32)
    return invalid("indices and indptr must be int32");
  if (static_cast<int64_t>(indptr.element_count()) != rows.n_pre + 1) return invalid("indptr must have n_pre + 1 entries");
  if (std::max({nnz, rows.n_pre, rows.n_post}) > std::numeric_limits<int32_t>::max())
    return invalid("too many synapses for 32-bit indices");
  if (pre.element_type() != ffi::F32 || post.element_type() != ffi::F32 || weights.element_type() != ffi::BF16)
    return invalid("vectors must be float32 and weights bfloat16");
  if (static_cast<int64_t>(weights.element_count()) != groups * nnz)
    return invalid("weights must have one entry per synapse");
  const auto* from = static_cast<const float*>(in.untyped_data());
  const auto* w = static_cast<const BFloat16*>(weights.untyped_data());
  auto* to = static_cast<float*>(out.untyped_data());
  for (int64_t i = 0; i < groups * batch; ++i) {
    if (kGather) {
      narrow_gather(rows, from + i * rows.n_post, w + (i / batch) * nnz, to + i * rows.n_pre);
    } else {
      narrow_scatter(rows, from + i * rows.n_pre, w + (i / batch) * nnz, to + i * rows.n_post);
    }
  }
  return ffi::Error::Success();
}

ffi::Error scatter_narrow(Any spikes, Any weights, Any indices, Any indptr, ffi::Result<Any> out) {
  return handle<false>(spikes, weights, indices, indptr, *out);
}
ffi::Error gather_narrow(Any values, Any weights, Any indices, Any indptr, ffi::Result<Any> out) {
  return handle<true>(values, weights, indices, indptr, *out);
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_FOUR             \
  xla::ffi::Ffi::Bind()           \
      .Arg<xla::ffi::AnyBuffer>() \
      .Arg<xla::ffi::AnyBuffer>() \
      .Arg<xla::ffi::AnyBuffer>() \
      .Arg<xla::ffi::AnyBuffer>()

BRAINSIM_HANDLER(brainsim_csr_scatter_narrow, scatter_narrow, BRAINSIM_FOUR)
BRAINSIM_HANDLER(brainsim_csr_gather_narrow, gather_narrow, BRAINSIM_FOUR)
