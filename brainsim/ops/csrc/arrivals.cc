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
#include <initializer_list>
#include <limits>
#include <string>

#include "arrivals_kernels.h"
#include "handlers.h"
#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace brainsim {
namespace {

namespace ffi = xla::ffi;
using Any = ffi::AnyBuffer;
using Out = ffi::Result<ffi::AnyBuffer>;

constexpr int64_t kWorthThreads = 1 << 14;  // synaptic events; fewer are delivered before another thread is awake
constexpr int64_t kMostParts = 8;           // each thread looks at every segment

ffi::Error invalid(const char* what) { return ffi::Error::InvalidArgument(std::string("brainsim arrivals: ") + what); }

int64_t count(const Any& array) { return static_cast<int64_t>(array.element_count()); }
int64_t axis(const Any& array, int64_t from_end) {
  const auto dims = array.dimensions();
  return static_cast<int64_t>(dims.size()) < from_end ? -1 : dims[dims.size() - from_end];
}
template <typename T>
T* data(const Any& array) {
  return static_cast<T*>(array.untyped_data());
}

struct Pattern {
  const Any &indices, &indptr, &steps, &k;
};

struct Problem {
  Delayed matrix;
  int64_t groups = 1, batch = 1;
  const int32_t* k;

  int64_t vectors() const { return groups * batch; }
};

// Reads the sizes from the arrays, and checks every array against them. `hints` and `weights` may be null.
ffi::Error check(const Any& history, const Any* hints, const Any& post, const Any* weights, const Pattern& a,
                 Problem* p) {
  const auto type = history.element_type();
  if (type != ffi::F32 && type != ffi::F64) return invalid("vectors must be float32 or float64");
  if (post.element_type() != type || (weights != nullptr && weights->element_type() != type))
    return invalid("vectors and weights must have the same type");
  for (const Any* x : {&a.indices, &a.indptr, &a.steps, &a.k})
    if (x->element_type() != ffi::S32) return invalid("indices, indptr, steps and k must be int32");
  const auto batch = a.k.dimensions();
  if (batch.size() != 0 && batch.size() != 2) return invalid("k must have no axis or two");
  if (batch.size() == 2) p->groups = batch[0], p->batch = batch[1];
  const int64_t n_pre = axis(history, 1), n_rows = axis(history, 2), n_post = axis(post, 1), nnz = count(a.indices);
  const int64_t n_slots = count(a.steps), hint_size = hints == nullptr ? 0 : axis(*hints, 1);
  if (n_rows < 1 || n_pre < 0 || n_post < 0) return invalid("the history must have rows [R, n_pre]");
  if (a.indptr.dimensions().size() != 2 || axis(a.indptr, 2) != n_pre || axis(a.indptr, 1) != n_slots + 1)
    return invalid("indptr must have shape [n_pre, slots + 1]");
  if (count(history) != p->vectors() * n_rows * n_pre || count(post) != p->vectors() * n_post)
    return invalid("all vectors must have the same batch axes");
  if (hints != nullptr && (hints->element_type() != ffi::S32 || count(*hints) != p->vectors() * n_rows * hint_size))
    return invalid("hints must be int32 with the axes of the history");
  if (weights != nullptr && count(*weights) != p->groups * nnz) return invalid("weights must have one entry per synapse");
  if (std::max(nnz, n_post) > std::numeric_limits<int32_t>::max()) return invalid("too many synapses for 32-bit indices");
  p->matrix = {data<int32_t>(a.indices), data<int32_t>(a.indptr), data<int32_t>(a.steps), nnz, n_pre, n_slots, n_post,
               n_rows, hint_size};
  p->k = data<int32_t>(a.k);
  return ffi::Error::Success();
}

// Calls `run` with a value of the element type of `array`, which `check` has seen.
template <typename Run>
void dispatch(const Any& array, Run run) {
  array.element_type() == ffi::F32 ? run(float{}) : run(double{});
}

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
  if (ffi::Error error = check(history, &hints, out, weights, pattern, &p); error.failure()) return error;
  if (start.element_type() != out.element_type() || count(start) != count(out))
    return invalid("the result must be like what it starts from");
  const Delayed& m = p.matrix;
  dispatch(history, [&](auto zero) {
    using T = decltype(zero);
    if (out.untyped_data() != start.untyped_data()) std::memcpy(out.untyped_data(), start.untyped_data(), out.size_bytes());
    int64_t parts = 1;  // of the postsynaptic neurons: each is added up in the same order, whoever does it
    if (p.vectors() == 1 && worth_threads(m, p.k[0], data<int32_t>(hints)))
      parts = std::max<int64_t>(1, std::min(kMostParts, pool.num_threads()));
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
  const auto type = values.element_type();
  if (type != ffi::F32 && type != ffi::F64) return invalid("vectors must be float32 or float64");
  const int64_t n = axis(values, 1), size = axis(*out, 1), axes = static_cast<int64_t>(values.dimensions().size());
  const int64_t rows = axes == 2 ? axis(values, 2) : 1;
  if (n < 0 || size < 0 || axes > 2 || out->element_type() != ffi::S32 || count(*out) != rows * size)
    return invalid("compact makes int32 hints [N, H] from vectors [N, n]");
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < rows; ++i) compact(data<T>(values) + i * n, n, size, data<int32_t>(*out) + i * size);
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace brainsim

#define BRAINSIM_BIND xla::ffi::Ffi::Bind()
#define BRAINSIM_POOL BRAINSIM_BIND.Ctx<xla::ffi::ThreadPool>()
#define BRAINSIM_ARG .Arg<xla::ffi::AnyBuffer>()
#define BRAINSIM_PATTERN BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG

BRAINSIM_HANDLER(brainsim_arrivals_add, add_weighted,
                 BRAINSIM_POOL BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_PATTERN)
BRAINSIM_HANDLER(brainsim_arrivals_add_unit, add_unit,
                 BRAINSIM_POOL BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_PATTERN)
BRAINSIM_HANDLER(brainsim_arrivals_gather, gather_weighted, BRAINSIM_POOL BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_PATTERN)
BRAINSIM_HANDLER(brainsim_arrivals_gather_unit, gather_unit, BRAINSIM_POOL BRAINSIM_ARG BRAINSIM_PATTERN)
BRAINSIM_HANDLER(brainsim_arrivals_outer, outer_weights,
                 BRAINSIM_POOL BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_ARG BRAINSIM_PATTERN)
BRAINSIM_HANDLER(brainsim_compact, compact_rows, BRAINSIM_BIND BRAINSIM_ARG)
