// K-space into the packed form that the other kernels read, and back. Once per image, not once per stage.
#include <cmath>
#include <cstdint>

#include "data_consistency/data_consistency.hpp"
#include "fft/blocks.hpp"

namespace csmri {

namespace {

// The slots of a line that a mask acquires, kLanes of them at a time.
template <class T>
struct AcquiredSlots {
  int slot[kLanes<T>];
  int count = 0;
  std::int64_t position;  // of the first, among all acquired slots; their samples are neighbours in this order

  // Number `chunk` of the chunks of kLanes acquired slots.
  AcquiredSlots(const LinePlan<T>& plan, const T* mask, std::int64_t chunk) : position(chunk * kLanes<T>) {
    std::int64_t skip = position;
    for (int s = 0; s < plan.n && count < kLanes<T>; ++s)
      if (mask[centred(plan, s)] != 0 && skip-- <= 0) slot[count++] = s;
  }

  // Where the frequency of a slot lies in centred k-space.
  static std::int64_t centred(const LinePlan<T>& plan, int s) { return (plan.frequency[s] + plan.n / 2) % plan.n; }
};

// Axes::x and Axes::y: along the line axis frequencies are permuted and scaled, along the other one transformed.
template <class T>
struct HybridSpace {
  const KspaceShape& s;
  const LinePlan<T>& line;                  // plan of the line axis
  const LinePlan<T>& across;                // plan of the other axis, whose transform pack takes
  std::int64_t line_stride, across_stride;  // in k-space, complex numbers
  T scale;                                  // of a unitary transform across

  explicit HybridSpace(const KspaceShape& shape)
      : s(shape),
        line(line_plan<T>(static_cast<int>(n_elements(s, line_axis(s))))),
        across(line_plan<T>(static_cast<int>(n_lines(s, line_axis(s))))),
        line_stride(s.axes == Axes::x ? 1 : s.nx),
        across_stride(s.axes == Axes::x ? s.nx : 1),
        scale(static_cast<T>(1 / std::sqrt(static_cast<double>(across.n)))) {}

  // f(batch item, acquired slots, their mask, buffers)
  template <class F>
  void for_acquired(const T* mask, const Workspace& work, const F& f) const {
    for_blocks<T>(s, s.batch, ceil_div(line.n, kLanes<T>), work,
                  [&](std::int64_t item, std::int64_t chunk, const LineBuffers<T>& buffers) {
                    const T* m = mask + item / s.batch_per_mask * line.n;
                    const AcquiredSlots<T> slots(line, m, chunk);
                    if (slots.count) f(item, slots, m, buffers);
                  });
  }
  // The factor between k-space and samples at a slot: weight, centring, transform across.
  Complex<T> factor(const T* mask, int slot) const {
    const T m = scale * mask[AcquiredSlots<T>::centred(line, slot)];
    return {m * line.centring[2 * slot], m * line.centring[2 * slot + 1]};
  }
  std::int64_t kspace_offset(int line_slot, int across_slot) const {
    return AcquiredSlots<T>::centred(line, line_slot) * line_stride +
           AcquiredSlots<T>::centred(across, across_slot) * across_stride;
  }
  // Real part of the sample of an acquired slot, by its position, and a lane; the imaginary part is kTile later.
  std::int64_t sample_offset(std::int64_t item, std::int64_t position, std::int64_t lane) const {
    return ((item * n_tiles(s) + lane / kTile) * line.n + position) * 2 * kTile + lane % kTile;
  }
  // Where the centred transform across leaves its element i.
  std::int64_t centred_position(int i) const { return (i + across.n / 2) % across.n; }
};

template <class T>
void pack_hybrid(const PackArgs<T>& a, const Workspace& work) {
  const HybridSpace<T> h(a.shape);
  h.for_acquired(a.mask, work, [&](std::int64_t item, const auto& slots, const T* m, const LineBuffers<T>& buffers) {
    const T* kspace = a.kspace + item * a.shape.ny * a.shape.nx * 2;
    for (int t = 0; t < h.across.n; ++t) {
      buffers.first[t] = Complex<Vec<T>>{};
      for (int lane = 0; lane < slots.count; ++lane) {
        const T* y = kspace + 2 * h.kspace_offset(slots.slot[lane], t);
        buffers.first[t].re[lane] = y[0];
        buffers.first[t].im[lane] = y[1];
      }
    }
    inverse_line(h.across, buffers.first, buffers.work);
    for (int lane = 0; lane < slots.count; ++lane) {
      const Complex<T> f = h.factor(m, slots.slot[lane]);
      for (int i = 0; i < h.across.n; ++i) {
        const Complex<T> v = rotate<1>(Complex<T>{buffers.first[i].re[lane], buffers.first[i].im[lane]}, f.re, f.im);
        T* to = a.samples + h.sample_offset(item, slots.position + lane, h.centred_position(i));
        to[0] = v.re;
        to[kTile] = v.im;
      }
    }
  });
}

template <class T>
void unpack_hybrid(const PackArgs<T>& a, const Workspace& work) {
  const HybridSpace<T> h(a.shape);
  h.for_acquired(a.mask, work, [&](std::int64_t item, const auto& slots, const T* m, const LineBuffers<T>& buffers) {
    for (int i = 0; i < h.across.n; ++i) {
      buffers.first[i] = Complex<Vec<T>>{};
      for (int lane = 0; lane < slots.count; ++lane) {
        const T* from = a.samples + h.sample_offset(item, slots.position + lane, h.centred_position(i));
        buffers.first[i].re[lane] = from[0];
        buffers.first[i].im[lane] = from[kTile];
      }
    }
    forward_line(h.across, buffers.first, buffers.work);
    T* kspace = a.kspace + item * a.shape.ny * a.shape.nx * 2;
    for (int lane = 0; lane < slots.count; ++lane) {
      const Complex<T> f = h.factor(m, slots.slot[lane]);
      for (int t = 0; t < h.across.n; ++t) {
        const Complex<T> v = rotate<-1>(Complex<T>{buffers.first[t].re[lane], buffers.first[t].im[lane]}, f.re, f.im);
        T* to = kspace + 2 * h.kspace_offset(slots.slot[lane], t);
        to[0] = v.re;
        to[1] = v.im;
      }
    }
  });
}

// Axes::xy: f(index of k-space, index of the mask, index of the sample, factor) for every point of every batch item.
template <class T, class F>
void for_points(const KspaceShape& s, const T* mask, const Workspace& work, const F& f) {
  const LinePlan<T>&x = line_plan<T>(static_cast<int>(s.nx)), &y = line_plan<T>(static_cast<int>(s.ny));
  parallel_tasks(s.batch * n_tiles(s), work.threads, [&](std::int64_t task, int) {
    const std::int64_t item = task / n_tiles(s), tile = task % n_tiles(s);
    for (int sy = 0; sy < y.n; ++sy)
      for (int sx = static_cast<int>(tile * kTile); sx < x.n && sx < (tile + 1) * kTile; ++sx) {
        const std::int64_t point = AcquiredSlots<T>::centred(y, sy) * s.nx + AcquiredSlots<T>::centred(x, sx);
        const T m = mask[item / s.batch_per_mask * s.ny * s.nx + point];
        const Complex<T> centring = rotate<1>(Complex<T>{x.centring[2 * sx], x.centring[2 * sx + 1]},
                                              y.centring[2 * sy], y.centring[2 * sy + 1]);
        f(item * s.ny * s.nx + point, m, (task * y.n + sy) * kTile + sx % kTile, centring);
      }
  });
}
// Samples come in pairs of kTile real and kTile imaginary parts, weights in single ones.
constexpr std::int64_t sample_offset(std::int64_t weight_offset) {
  return weight_offset / kTile * 2 * kTile + weight_offset % kTile;
}

}  // namespace

template <Simd L, class T>
void data_consistency_pack_cpu(const PackArgs<T>& a, const Workspace& work) {
  if (a.shape.axes != Axes::xy) return pack_hybrid(a, work);
  for_points<T>(a.shape, a.mask, work, [&](std::int64_t point, T m, std::int64_t weight, Complex<T> centring) {
    const Complex<T> y = {m * a.kspace[2 * point], m * a.kspace[2 * point + 1]},
                     v = rotate<1>(y, centring.re, centring.im);
    a.samples[sample_offset(weight)] = v.re;
    a.samples[sample_offset(weight) + kTile] = v.im;
  });
}

template <Simd L, class T>
void data_consistency_unpack_cpu(const PackArgs<T>& a, const Workspace& work) {
  if (a.shape.axes != Axes::xy) return unpack_hybrid(a, work);
  for_points<T>(a.shape, a.mask, work, [&](std::int64_t point, T m, std::int64_t weight, Complex<T> centring) {
    const Complex<T> y = {a.samples[sample_offset(weight)], a.samples[sample_offset(weight) + kTile]};
    const Complex<T> v = rotate<-1>(y, centring.re, centring.im);
    a.kspace[2 * point] = m * v.re;
    a.kspace[2 * point + 1] = m * v.im;
  });
}

template <Simd L, class T>
void data_consistency_pack_mask_cpu(const PackMaskArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  if (s.axes == Axes::xy) {
    for_points<T>(s, a.mask, work, [&](std::int64_t, T m, std::int64_t weight, Complex<T>) { a.weights[weight] = m; });
    return;
  }
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, line_axis(s))));
  for (std::int64_t mask = 0; mask < s.batch; ++mask) {
    int position = 0;
    for (int slot = 0; slot < plan.n; ++slot) {
      const T m = a.mask[mask * plan.n + AcquiredSlots<T>::centred(plan, slot)];
      T* weight = a.weights + (mask * plan.n + slot) * 2;
      weight[0] = m;
      weight[1] = static_cast<T>(m != 0 ? position++ : -1);
    }
  }
}

template <Simd L, class T>
std::int64_t data_consistency_pack_scratch_bytes(const PackArgs<T>& a, int threads) {
  return threads * line_scratch_bytes(a.shape.ny, a.shape.nx);
}

template void data_consistency_pack_cpu<kSimd, float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_pack_cpu<kSimd, double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_unpack_cpu<kSimd, float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_unpack_cpu<kSimd, double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_pack_mask_cpu<kSimd, float>(const PackMaskArgs<float>&, const Workspace&);
template void data_consistency_pack_mask_cpu<kSimd, double>(const PackMaskArgs<double>&, const Workspace&);

template std::int64_t data_consistency_pack_scratch_bytes<kSimd>(const PackArgs<float>&, int);
template std::int64_t data_consistency_pack_scratch_bytes<kSimd>(const PackArgs<double>&, int);

}  // namespace csmri
