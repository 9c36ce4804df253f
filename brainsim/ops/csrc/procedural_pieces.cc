// Pieces of rows of synapses that are regenerated, in the instructions of several generations of processors.
//
// Everything that takes vectors is here, once for each generation: the loops that use it are compiled for all of them alike.

#include "procedural_late_kernels.h"

namespace brainsim {
namespace {

#define BRAINSIM_PIECES(name, target)                                                                                  \
  struct name {                                                                                                        \
    target static int64_t go_to(Row& r, int64_t row) { return brainsim::go_to(r, row); }                               \
    target static void targets(const Row& r, int64_t from, int64_t count, int32_t* targets) {                          \
      draw_targets(r, from, count, targets);                                                                           \
    }                                                                                                                  \
    target static void places(const Arrivals& a, const Row& r, int64_t from, int64_t count, const int32_t* targets,    \
                              int64_t* places) {                                                                       \
      draw_places(a, r, from, count, targets, places);                                                                 \
    }                                                                                                                  \
    template <typename T, Noise kNoise>                                                                                \
    target static void noise(const Row& r, int64_t from, int64_t count, T* noise) {                                    \
      draw_noise<T, kNoise>(r, from, count, noise);                                                                    \
    }                                                                                                                  \
  };

BRAINSIM_PIECES(Portable, )
#if BRAINSIM_WIDE
BRAINSIM_PIECES(Wide, __attribute__((target("avx2"))))
BRAINSIM_PIECES(Widest, BRAINSIM_WIDEST)
#endif

template <typename T, typename Level>
Pieces<T> pieces_of(Noise noise) {
  Pieces<T> all{Level::go_to, Level::targets, nullptr, Level::places};
  if (noise == Noise::kUniform) all.noise = Level::template noise<T, Noise::kUniform>;
  if (noise == Noise::kNormal) all.noise = Level::template noise<T, Noise::kNormal>;
  return all;
}

}  // namespace

bool has_widest() {
#if BRAINSIM_WIDE
  static const bool widest = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return widest;
#else
  return false;
#endif
}

template <typename T>
Pieces<T> pieces(Noise noise) {
#if BRAINSIM_WIDE
  static const bool has_wide = __builtin_cpu_supports("avx2");
  if (has_widest()) return pieces_of<T, Widest>(noise);
  if (has_wide) return pieces_of<T, Wide>(noise);
#endif
  return pieces_of<T, Portable>(noise);
}

template Pieces<float> pieces(Noise noise);
template Pieces<double> pieces(Noise noise);

}  // namespace brainsim
