// The loops of the layouts beside compressed rows, on valid and on wild tables, for a build with the address and
// undefined-behaviour sanitisers (tests/test_sanitisers.py): every array is its own allocation.

#include <cmath>
#include <cstdio>
#include <memory>
#include <random>

#include "csr_narrow_kernels.h"
#include "dense_kernels.h"
#include "procedural_kernels.h"
#include "procedural_late_kernels.h"
#include "procedural_pieces.cc"

using namespace brainsim;

template <typename T>
std::unique_ptr<T[]> array(int64_t n, T value) {
  auto a = std::make_unique<T[]>(n);
  std::fill(a.get(), a.get() + n, value);
  return a;
}

template <typename T>
bool same(const T* a, const T* b, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!(std::abs(a[i] - b[i]) <= T(1e-4) * (1 + std::abs(b[i])))) return false;
  return true;
}

struct Draw {
  std::mt19937& rng;
  int64_t operator()(int64_t n) const { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }
};

template <typename T>
std::unique_ptr<T[]> spikes_of(const Draw& draw, int64_t n) {
  auto x = array<T>(n, 0);
  const int64_t active = 1 + draw(20);
  for (int64_t i = 0; i < n; ++i) x[i] = draw(active) == 0 ? T(1 + draw(3)) : T(0);
  return x;
}

template <typename T, typename W>
bool fan_out(const Draw& draw, bool wild, W weight) {
  const int64_t n_pre = draw(700), k = draw(40), n_post = draw(50);
  const int32_t strange[] = {INT32_MIN, -1, 0, 7, 49, 50, 100000, INT32_MAX};
  auto indices = array<int32_t>(n_pre * k, 0);
  for (int64_t j = 0; j < n_pre * k; ++j)
    indices[j] = wild || n_post == 0 ? strange[draw(8)] : static_cast<int32_t>(draw(n_post));
  auto x = spikes_of<T>(draw, n_pre);
  auto weights = array<W>(n_pre * k, weight);
  auto out = array<T>(n_post, NAN), unit = array<T>(n_post, NAN), expected = array<T>(n_post, 0);
  fan_out_scatter<T, W, true>(n_pre, k, n_post, x.get(), weights.get(), indices.get(), out.get());
  fan_out_scatter<T, W, false>(n_pre, k, n_post, x.get(), static_cast<const W*>(nullptr), indices.get(), unit.get());
  for (int64_t j = 0; j < n_pre * k; ++j)
    if (indices[j] >= 0 && indices[j] < n_post) expected[indices[j]] += x[j / k];
  if (!same(unit.get(), expected.get(), n_post)) return false;
  for (int64_t j = 0; j < n_post; ++j) expected[j] *= widened<T>(weight);
  return same(out.get(), expected.get(), n_post);
}

bool narrow(const Draw& draw, bool wild) {
  const int64_t n_pre = draw(100), n_post = draw(50), nnz = n_post == 0 ? 0 : draw(900);
  const int32_t strange[] = {INT32_MIN, -1, 0, 7, 49, 50, 100000, INT32_MAX};
  auto indices = array<int32_t>(nnz, 0), indptr = array<int32_t>(n_pre + 1, 0);
  for (int64_t j = 0; j < nnz; ++j) indices[j] = wild ? strange[draw(8)] : static_cast<int32_t>(draw(n_post));
  for (int64_t i = 0; i <= n_pre; ++i) indptr[i] = wild ? strange[draw(8)] : static_cast<int32_t>(i * nnz / std::max<int64_t>(n_pre, 1));
  const Rows rows{indices.get(), indptr.get(), nnz, n_pre, n_post};
  auto x = spikes_of<float>(draw, n_pre), v = spikes_of<float>(draw, n_post);
  auto weights = array<BFloat16>(nnz, BFloat16{0x4040});  // 3
  auto wide = array<float>(nnz, 3);
  auto a = array<float>(n_post, NAN), b = array<float>(n_post, NAN), c = array<float>(n_pre, NAN), d = array<float>(n_pre, NAN);
  narrow_scatter(rows, x.get(), weights.get(), a.get());
  scatter<float, true>(rows, x.get(), wide.get(), b.get());
  narrow_gather(rows, v.get(), weights.get(), c.get());
  gather<float, true>(rows, 0, n_pre, v.get(), wide.get(), d.get());
  return same(a.get(), b.get(), n_post) && same(c.get(), d.get(), n_pre);
}

template <typename T>
bool dense(const Draw& draw) {
  const int64_t n_pre = draw(100), n_post = draw(3000);
  auto x = spikes_of<T>(draw, n_pre), weights = array<T>(n_pre * n_post, 0);
  auto out = array<T>(n_post, NAN), expected = array<T>(n_post, 0);
  for (int64_t j = 0; j < n_pre * n_post; ++j) weights[j] = T(draw(5));
  dense_scatter(n_pre, n_post, x.get(), weights.get(), out.get());
  for (int64_t i = 0; i < n_pre; ++i)
    for (int64_t j = 0; j < n_post; ++j) expected[j] += x[i] * weights[i * n_post + j];
  return same(out.get(), expected.get(), n_post);
}

template <typename T>
bool convolution(const Draw& draw) {
  Convolution c{draw(9), draw(9), draw(4), draw(5), draw(5), 1 + draw(3), 1 + draw(3), draw(4), draw(4), 0, 0, draw(5)};
  c.out_height = draw(12);  // any: what the kernel does not reach stays zero
  c.out_width = draw(12);
  auto image = spikes_of<T>(draw, c.in_size()), weights = array<T>(c.weight_size(), 0);
  auto out = array<T>(c.out_size(), NAN), expected = array<T>(c.out_size(), 0);
  for (int64_t j = 0; j < c.weight_size(); ++j) weights[j] = T(draw(5));
  convolution_scatter(c, image.get(), weights.get(), out.get());
  for (int64_t oy = 0; oy < c.out_height; ++oy)
    for (int64_t ox = 0; ox < c.out_width; ++ox)
      for (int64_t ky = 0; ky < c.kernel_height; ++ky)
        for (int64_t kx = 0; kx < c.kernel_width; ++kx) {
          const int64_t y = oy * c.stride_y - c.top + ky, x = ox * c.stride_x - c.left + kx;
          if (y < 0 || y >= c.height || x < 0 || x >= c.width) continue;
          for (int64_t i = 0; i < c.channels; ++i)
            for (int64_t o = 0; o < c.out_channels; ++o)
              expected[(oy * c.out_width + ox) * c.out_channels + o] +=
                  image[(y * c.width + x) * c.channels + i] *
                  weights[((ky * c.kernel_width + kx) * c.channels + i) * c.out_channels + o];
        }
  return same(out.get(), expected.get(), c.out_size());
}

// The sum of products, and that of their magnitudes.
template <typename T>
std::pair<double, double> product(const T* a, const T* b, int64_t n) {
  double sum = 0, size = 1;
  for (int64_t i = 0; i < n; ++i) sum += double(a[i]) * b[i], size += std::abs(double(a[i]) * b[i]);
  return {sum, size};
}

// With delays: on the same pattern, into a ring.
template <typename T, Noise kNoise>
bool late(const Draw& draw, const Pattern& p, bool wild, int64_t batch) {
  constexpr int64_t kC = kChannels<kNoise>;
  const int64_t size = draw(12), least = draw(4), stride = 1 + draw(3), rows = 1 + least + stride * size + draw(3);
  auto table = array<uint32_t>(size, 0);
  for (int64_t i = 0; i < size; ++i) table[i] = draw(2) ? static_cast<uint32_t>(draw(1 << 30)) * 4 : draw(2) ? 0 : 0xffffffffu;
  if (!wild) std::sort(table.get(), table.get() + size);
  const int64_t k = draw(1000) - (wild ? 500 : 0);
  const Late delays{least, stride, rows, table.get(), size};
  if (fault(delays) != nullptr || fault(Late{least, stride, rows - 4, table.get(), size}) == nullptr) return false;
  auto sent = spikes_of<T>(draw, batch * p.n_pre * kC), v = spikes_of<T>(draw, batch * rows * p.n_post);
  auto ring = array<T>(batch * rows * p.n_post, 0), found = array<T>(batch * p.n_pre * kC, NAN);
  procedural_send<T, kC == 2>(p, kNoise, delays, k, batch, sent.get(), ring.get());
  procedural_collect<T, kC == 2>(p, kNoise, delays, k, batch, v.get(), found.get());
  const auto [one, scale] = product(ring.get(), v.get(), batch * rows * p.n_post);
  const auto [other, ignored] = product(found.get(), sent.get(), batch * p.n_pre * kC);
  return std::abs(one - other) <= 1e-3 * (scale + ignored);
}

template <typename T, Noise kNoise>
bool procedural(const Draw& draw, bool wild) {
  constexpr int64_t kC = kChannels<kNoise>;
  const int64_t n_pre = draw(60), n_post = draw(400), batch = 1 + draw(3);
  const Partners partners = static_cast<Partners>(draw(3));
  const bool all = partners == Partners::kOfAll, skip = !all && n_post > 0 && draw(2) == 0;
  const int64_t fan_in = 1 + draw(5), domain = all ? n_post * fan_in : n_post - skip;
  const int64_t size = all ? n_pre + 1 : draw(20);
  const uint32_t strange[] = {0, 1, 7, 1000, 0x7fffffffu, 0x80000000u, 0xffffffffu};
  auto table = array<uint32_t>(size, 0);
  for (int64_t i = 0; i < size; ++i) table[i] = wild ? strange[draw(7)] : static_cast<uint32_t>(all ? i * domain / std::max<int64_t>(n_pre, 1) : draw(1 << 30) * 4);
  if (!wild) std::sort(table.get(), table.get() + size);
  const Pattern p{partners, n_pre, n_post, domain, draw(wild ? 2000 : 300), fan_in, skip,
                  {static_cast<uint32_t>(draw(1 << 30)), static_cast<uint32_t>(draw(1 << 30))}, table.get(), size};
  auto x = spikes_of<T>(draw, batch * n_pre), v = array<T>(batch * n_post * kC, 0);
  for (int64_t i = 0; i < batch * n_post * kC; ++i) v[i] = T(draw(4));
  auto out = array<T>(batch * n_post * kC, NAN), found = array<T>(batch * n_pre, NAN);
  procedural_scatter<T, kC == 2>(p, kNoise, batch, x.get(), out.get());
  procedural_gather<T, kC == 2>(p, kNoise, batch, v.get(), found.get());
  // Each is the transpose of the other.
  const auto [one, scale] = product(out.get(), v.get(), batch * n_post * kC);
  const auto [other, ignored] = product(found.get(), x.get(), batch * n_pre);
  return std::abs(one - other) <= 1e-3 * (scale + ignored) && late<T, kNoise>(draw, p, wild, batch);
}

int main() {
  std::mt19937 rng(0);
  const Draw draw{rng};
  for (int i = 0; i < 60; ++i) {
    const bool wild = i % 2;
    const bool good = fan_out<float, float>(draw, wild, 2.0f) && fan_out<double, double>(draw, wild, 2.0) &&
                      fan_out<float, BFloat16>(draw, wild, BFloat16{0x4040}) && narrow(draw, wild) &&
                      dense<float>(draw) && dense<double>(draw) && convolution<float>(draw) &&
                      convolution<double>(draw) && procedural<float, Noise::kNone>(draw, wild) &&
                      procedural<double, Noise::kUniform>(draw, wild) && procedural<float, Noise::kNormal>(draw, wild);
    if (!good) {
      std::printf("wrong result in round %d\n", i);
      return 1;
    }
  }
  std::printf("ok\n");
}
