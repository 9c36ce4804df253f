// The sizes of procedural connectivity, read from the arrays and attributes and checked; procedural.cc says what they are.

#ifndef BRAINSIM_PROCEDURAL_PROBLEM_H_
#define BRAINSIM_PROCEDURAL_PROBLEM_H_

#include <cstdint>
#include <limits>
#include <type_traits>

#include "arrays.h"
#include "handlers.h"
#include "procedural_synapses.h"

namespace brainsim::regenerating {

// The attributes of both handlers.
struct Numbers {
  int64_t partners, noise, n_pre, n_post, domain, degree, fan_in, skip;
};

inline void read(ffi::Reader& from, Numbers* a) {
  read(from, &a->partners, "partners");
  read(from, &a->noise, "noise");
  read(from, &a->n_pre, "n_pre");
  read(from, &a->n_post, "n_post");
  read(from, &a->domain, "domain");
  read(from, &a->degree, "degree");
  read(from, &a->fan_in, "fan_in");
  read(from, &a->skip, "skip");
}

struct Problem {
  Pattern pattern;  // all but the seed, which may lie in another memory
  Noise noise;
  int64_t batch;
};

inline ffi::Error invalid(const char* what) {
  return ffi::Error::InvalidArgument("procedural", what);
}

// The pattern and the noise. Targets are below n_post by construction only if this is a success.
inline ffi::Error check_pattern(const Any& seed, const Any& table, const Numbers& a, Problem* p) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  for (const int64_t size : {a.n_pre, a.n_post, a.domain, a.degree, a.fan_in})
    if (size < 0 || size > kMost) return invalid("sizes must fit in 32 bits");
  if (a.noise < 0 || a.noise > 2) return invalid("unknown kind of noise");
  if (seed.element_type() != ffi::U32 || table.element_type() != ffi::U32) return invalid("seed and table must be uint32");
  if (seed.element_count() != 2) return invalid("the seed must have two entries");
  if (a.partners < 0 || a.partners > 2) return invalid("unknown pattern");
  const Partners kind = static_cast<Partners>(a.partners);
  if (kind == Partners::kOfAll) {
    if (count(table) != a.n_pre + 1) return invalid("the table must have n_pre + 1 entries");
    if (a.fan_in < 1 || a.domain > a.fan_in * a.n_post || a.skip != 0) return invalid("the synapses do not fit the targets");
  } else if (a.domain + (a.skip != 0) > a.n_post) {
    return invalid("the domain exceeds the targets");
  }
  p->pattern = {kind, a.n_pre, a.n_post, a.domain, a.degree, a.fan_in, a.skip != 0, {0, 0}, data<uint32_t>(table), count(table)};
  p->noise = static_cast<Noise>(a.noise);
  return ffi::Error::Success();
}

inline ffi::Error check(bool gather, const Any& in, const Any& seed, const Any& table, const Numbers& a, const Any& out,
                        Problem* p) {
  if (ffi::Error error = check_pattern(seed, table, a, p); error.failure()) return error;
  const int64_t channels = a.noise == 0 ? 1 : 2;
  const Any &pre = gather ? out : in, &post = gather ? in : out;
  p->batch = pre.dimensions().size() > 1 ? pre.dimensions()[0] : 1;
  if (count(pre) != p->batch * a.n_pre || count(post) != p->batch * a.n_post * channels)
    return invalid("vectors must have one entry per neuron");
  if (in.element_type() != out.element_type()) return invalid("vectors must have the same type");
  return ffi::Error::Success();
}

// Calls `run` with a value of the element type of `array`, and the kind of noise as a type.
template <typename Run>
ffi::Error dispatch(const Any& array, Noise noise, Run run) {
  const auto typed = [&](auto zero) {
    switch (noise) {
      case Noise::kUniform:
        return run(zero, std::integral_constant<Noise, Noise::kUniform>{});
      case Noise::kNormal:
        return run(zero, std::integral_constant<Noise, Noise::kNormal>{});
      default:
        return run(zero, std::integral_constant<Noise, Noise::kNone>{});
    }
  };
  if (array.element_type() == ffi::F32) return typed(float{});
  if (array.element_type() == ffi::F64) return typed(double{});
  return invalid("vectors must be float32 or float64");
}

}  // namespace brainsim::regenerating

#endif  // BRAINSIM_PROCEDURAL_PROBLEM_H_
