// What happens once per measurement: weights of a mask, k-space to packed samples and back, images to packed samples.
// The definitions are in data_consistency.hpp, the order of the packed forms in lines.cuh.
//
// One block per line frequency (pack, unpack) or per line (measure). For Axes::x pack reads columns of k-space one by
// one, 8 bytes of each 32-byte sector: not worth a tile for a kernel that runs once.
#include "data_consistency/data_consistency.hpp"
#include "fft/any_length.cuh"
#include "fft/passes.cuh"

namespace csmri {
namespace {

// The two axes of packed data, extents and centres h = floor(n / 2); frequency k of the plain DFT is stored, centred,
// at (k + h) mod n.
struct PackedAxes {
  int n, lanes;  // line and lane axis
  bool along_x, transform_lanes;
  int batch_per_mask;

  explicit PackedAxes(const KspaceShape& shape)
      : n(static_cast<int>(shape.axes == Axes::x ? shape.nx : shape.ny)),
        lanes(static_cast<int>(shape.axes == Axes::x ? shape.ny : shape.nx)),
        along_x(shape.axes == Axes::x),
        transform_lanes(shape.axes != Axes::xy),
        batch_per_mask(static_cast<int>(shape.batch_per_mask)) {}
  // Element of a centred (ny, nx) array that line frequency k and lane frequency q refer to.
  __device__ std::int64_t centred(int k, int q) const {
    const int line = (k + n / 2) % n, lane = (q + lanes / 2) % lanes;
    return along_x ? static_cast<std::int64_t>(lane) * n + line : static_cast<std::int64_t>(line) * lanes + lane;
  }
};

// exp(-2 pi i k h / n) sqrt(n), h = floor(n / 2)
template <class T>
__device__ Complex<T> centring(int k, int n) {
  const Complex<T> root = unit_root<T>(static_cast<int>(static_cast<std::int64_t>(k) * (n / 2) % n), n);
  const T scale = static_cast<T>(sqrt(static_cast<double>(n)));
  return {scale * root.re, -scale * root.im};
}

// Adds up f(i) != 0 over 0 <= i < n, by all threads of the block.
template <class F>
__device__ int count_nonzero(int n, const F& f) {
  int count = 0;
  for (int first = 0; first < n; first += static_cast<int>(blockDim.x)) {
    const int i = first + static_cast<int>(threadIdx.x);
    count += __syncthreads_count(i < n && f(i) != 0);
  }
  return count;
}

// One block per (batch item, line frequency k). kspace: (batch, ny, nx) complex, centred; mask centred.
template <class T, bool kUnpack>
__global__ void __launch_bounds__(kAnyLengthThreads)
    pack_kernel(const PackedAxes axes, const Factors lane_factors, T* __restrict__ kspace, const T* __restrict__ mask,
                T* __restrict__ samples) {
  const int n = axes.n, lanes = axes.lanes, threads = static_cast<int>(blockDim.x);
  const int batch = static_cast<int>(blockIdx.x) / n, k = static_cast<int>(blockIdx.x) % n;
  Pair<T>* roots = dynamic_shared<Pair<T>>();
  Pair<T>* tile = roots + lanes;
  Pair<T>* spectrum = reinterpret_cast<Pair<T>*>(kspace) + static_cast<std::int64_t>(batch) * n * lanes;
  const std::int64_t mask_index = batch / axes.batch_per_mask;

  int slot = k;
  Complex<T> factor = centring<T>(k, n);
  if (axes.transform_lanes) {  // one weight for the whole line
    const T* line_mask = mask + mask_index * n;
    const T m = line_mask[(k + n / 2) % n];
    if (m == 0) return;
    if (axes.along_x) slot = count_nonzero(k, [&](int i) { return line_mask[(i + n / 2) % n]; });
    const T scale = m / static_cast<T>(lanes);  // the unitary inverse DFT along the lanes: centring() has sqrt(lanes)
    factor = {scale * factor.re, scale * factor.im};
  }
  const auto lane_weight = [&](int q) {
    return axes.transform_lanes ? T(1) : mask[mask_index * n * lanes + axes.centred(k, q)];
  };
  const auto sample = [&](int lane) {
    const auto line = sample_line(samples, axes.along_x, n, lanes, batch, lane);
    return reinterpret_cast<Pair<T>*>(line.samples + static_cast<std::int64_t>(slot) * line.stride);
  };

  fill_roots(roots, lanes);
  for (int q = static_cast<int>(threadIdx.x); q < lanes; q += threads) {
    if constexpr (kUnpack) {
      tile[q] = as_pair(multiply_conjugate(as_complex(*sample(q)), factor));
    } else {
      tile[q] = as_pair(multiply(multiply(as_complex(spectrum[axes.centred(k, q)]), centring<T>(q, lanes)), factor));
    }
  }
  if (axes.transform_lanes) tile = transform_lines<kUnpack ? -1 : 1>(tile, tile + lanes, 1, lane_factors, roots);
  for (int q = static_cast<int>(threadIdx.x); q < lanes; q += threads) {
    const T m = lane_weight(q);
    if constexpr (kUnpack) {
      const Complex<T> z = multiply_conjugate(as_complex(tile[q]), centring<T>(q, lanes));
      spectrum[axes.centred(k, q)] = {m * z.re, m * z.im};
    } else {
      *sample(q) = m == 0 ? Pair<T>{} : Pair<T>{m * tile[q].re, m * tile[q].im};  // NaN times 0 is NaN
    }
  }
}

// Sum over replicas, forward transform of each line, times scale; into packed samples or, if those are null, images.
template <class T>
struct MeasurePass {
  ComplexImages<const T> in;
  ComplexImages<T> out;
  T* samples;
  const T* weights;  // (n_masks, n, 2), or null: store every frequency
  T scale;
  int n, lanes, replicas, batch_per_mask;
  bool along_x;
};

// One block per line.
template <class T>
__global__ void __launch_bounds__(kAnyLengthThreads) measure_kernel(const MeasurePass<T> pass, const Factors factors) {
  const int n = pass.n, threads = static_cast<int>(blockDim.x);
  const int batch = static_cast<int>(blockIdx.x) / pass.lanes, lane = static_cast<int>(blockIdx.x) % pass.lanes;
  Pair<T>* roots = dynamic_shared<Pair<T>>();
  Pair<T>* tile = roots + n;
  fill_roots(roots, n);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) {
    Complex<T> sum{0, 0};
    for (int r = 0; r < pass.replicas; ++r) {
      const auto line = line_of(pass.in, pass.along_x, pass.replicas, batch * pass.replicas + r, lane);
      sum = sum + Complex<T>{line.re[i * line.stride], line.im[i * line.stride]};
    }
    tile[i] = as_pair(sum);
  }
  const Pair<T>* spectrum = transform_lines<-1>(tile, tile + n, 1, factors, roots);
  for (int k = static_cast<int>(threadIdx.x); k < n; k += threads) {
    const Pair<T> value = {pass.scale * spectrum[k].re, pass.scale * spectrum[k].im};
    if (pass.samples == nullptr) {
      const auto line = line_of(pass.out, pass.along_x, 1, batch, lane);
      line.re[k * line.stride] = value.re;
      line.im[k * line.stride] = value.im;
      continue;
    }
    const T* weight =
        pass.weights ? pass.weights + 2 * (static_cast<std::int64_t>(batch / pass.batch_per_mask) * n + k) : nullptr;
    if (weight && weight[0] == 0) continue;
    const auto line = sample_line(pass.samples, pass.along_x, n, pass.lanes, batch, lane);
    const std::int64_t slot = pass.along_x ? static_cast<std::int64_t>(weight[1]) : k;
    *reinterpret_cast<Pair<T>*>(line.samples + slot * line.stride) = value;
  }
}

// One block per mask. weights of a one-dimensional mask: (m, rank); rank by counting, in O(n^2 / threads).
template <class T>
__global__ void __launch_bounds__(kAnyLengthThreads)
    pack_mask_kernel(const T* __restrict__ mask, T* __restrict__ weights, int n) {
  const std::int64_t offset = static_cast<std::int64_t>(blockIdx.x) * n;
  const auto weight = [&](int k) { return mask[offset + (k + n / 2) % n]; };
  for (int k = static_cast<int>(threadIdx.x); k < n; k += static_cast<int>(blockDim.x)) {
    int rank = 0;
    for (int i = 0; i < k; ++i) rank += weight(i) != 0;
    weights[2 * (offset + k)] = weight(k);
    weights[2 * (offset + k) + 1] = static_cast<T>(rank);
  }
}

// One block per (mask, tile, line frequency). weights (n_masks, tiles, n, kTile), zero beyond the last lane.
template <class T>
__global__ void pack_mask_2d_kernel(const PackedAxes axes, const T* __restrict__ mask, T* __restrict__ weights) {
  const int tiles = (axes.lanes + static_cast<int>(kTile) - 1) / static_cast<int>(kTile);
  const int block = static_cast<int>(blockIdx.x), k = block % axes.n, tile = block / axes.n % tiles;
  const std::int64_t plane = static_cast<std::int64_t>(block / (axes.n * tiles)) * axes.n * axes.lanes;
  const int lane = tile * static_cast<int>(kTile) + static_cast<int>(threadIdx.x);
  weights[static_cast<std::int64_t>(block) * kTile + threadIdx.x] =
      lane < axes.lanes ? mask[plane + axes.centred(k, lane)] : T(0);
}

template <class T, bool kUnpack>
void launch_pack(const PackArgs<T>& args, void* stream) {
  const PackedAxes axes(args.shape);
  const LaunchShape shape{dim3(static_cast<unsigned>(args.shape.batch * axes.n)), dim3(kAnyLengthThreads),
                          3 * sizeof(Pair<T>) * static_cast<std::size_t>(axes.lanes),
                          static_cast<cudaStream_t>(stream)};
  launch(pack_kernel<T, kUnpack>, shape, axes, factorize(axes.lanes), args.kspace, args.mask, args.samples);
}

template <class T>
void launch_measure(const MeasurePass<T>& pass, std::int64_t batch, void* stream) {
  const LaunchShape shape{dim3(static_cast<unsigned>(batch * pass.lanes)), dim3(kAnyLengthThreads),
                          3 * sizeof(Pair<T>) * static_cast<std::size_t>(pass.n), static_cast<cudaStream_t>(stream)};
  launch(measure_kernel<T>, shape, pass, factorize(pass.n));
}

}  // namespace

template <class T>
void data_consistency_pack_cuda(const PackArgs<T>& args, const Workspace& work) {
  launch_pack<T, false>(args, work.stream);
}
template <class T>
void data_consistency_unpack_cuda(const PackArgs<T>& args, const Workspace& work) {
  launch_pack<T, true>(args, work.stream);
}

template <class T>
void data_consistency_pack_mask_cuda(const PackMaskArgs<T>& args, const Workspace& work) {
  const PackedAxes axes(args.shape);
  const auto on = static_cast<cudaStream_t>(work.stream);
  if (args.shape.axes == Axes::xy) {
    const std::int64_t blocks = args.shape.batch * ((axes.lanes + kTile - 1) / kTile) * axes.n;
    launch(pack_mask_2d_kernel<T>, {dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(kTile)), 0, on},
           axes, args.mask, args.weights);
  } else {
    launch(pack_mask_kernel<T>, {dim3(static_cast<unsigned>(args.shape.batch)), dim3(kAnyLengthThreads), 0, on},
           args.mask, args.weights, axes.n);
  }
}

template <class T>
void data_consistency_measure_cuda(const MeasureArgs<T>& args, const Workspace& work) {
  const KspaceShape& shape = args.shape;
  const PackedAxes axes(shape);
  MeasurePass<T> pass{};
  pass.in = args.image;
  pass.replicas = static_cast<int>(shape.replicas);
  pass.batch_per_mask = static_cast<int>(shape.batch_per_mask);
  pass.n = axes.n, pass.lanes = axes.lanes, pass.along_x = axes.along_x;
  pass.scale = T(1) / static_cast<T>(axes.n);
  pass.samples = args.samples, pass.weights = args.weights;
  if (shape.axes == Axes::xy) {
    T* const spectra = static_cast<T*>(work.scratch);
    const ComplexImages<T> transformed{spectra, spectra + 1, 2 * shape.ny * shape.nx, 0, 2 * shape.nx, 2};
    MeasurePass<T> rows = pass;
    rows.n = axes.lanes, rows.lanes = axes.n, rows.along_x = true;
    rows.scale = T(1) / static_cast<T>(axes.lanes);
    rows.samples = nullptr, rows.out = transformed;
    launch_measure(rows, shape.batch, work.stream);
    pass.in = read_only(transformed);
    pass.replicas = 1, pass.weights = nullptr;
  }
  launch_measure(pass, shape.batch, work.stream);
}

template <class T>
std::int64_t data_consistency_measure_cuda_scratch_bytes(const MeasureArgs<T>& args) {
  return args.shape.axes == Axes::xy ? args.shape.n_values() * std::int64_t{sizeof(T)} : 0;
}

template std::int64_t data_consistency_measure_cuda_scratch_bytes(const MeasureArgs<float>&);
template std::int64_t data_consistency_measure_cuda_scratch_bytes(const MeasureArgs<double>&);
template void data_consistency_pack_cuda<float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_pack_cuda<double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_unpack_cuda<float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_unpack_cuda<double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_pack_mask_cuda<float>(const PackMaskArgs<float>&, const Workspace&);
template void data_consistency_pack_mask_cuda<double>(const PackMaskArgs<double>&, const Workspace&);
template void data_consistency_measure_cuda<float>(const MeasureArgs<float>&, const Workspace&);
template void data_consistency_measure_cuda<double>(const MeasureArgs<double>&, const Workspace&);

}  // namespace csmri
