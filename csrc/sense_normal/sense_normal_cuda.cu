// The normal operator of SENSE on CUDA (sense_normal.hpp): entry point, and the passes of sense_pass.cuh for any line
// length, float32 and float64.
//
// Axes::x, y: one pass, 8 (coils + 2) bytes per pixel. Axes::xy: three passes, image by image, so that the coil images
// of one (8 coils bytes per pixel) can stay in the second-level cache in between.
#include "fft/any_length.cuh"
#include "fft/passes.cuh"
#include "sense_normal/sense_normal.hpp"
#include "sense_normal/sense_pass.cuh"

namespace csmri {
namespace {

template <class T>
__global__ void __launch_bounds__(kAnyLengthThreads)
    any_length_sense_kernel(const SensePass<T> args, const Factors factors, int lines_per_block) {
  const LinePass<T>& pass = args.pass;
  const int n = pass.n;
  Pair<T>* roots = dynamic_shared<Pair<T>>();
  Pair<T>* tiles[3];
  for (int i = 0; i < 3; ++i) tiles[i] = roots + n + i * lines_per_block * n;
  Pair<T>* sum = tiles[2];
  const BlockOfLines block(pass, lines_per_block);
  const Diagonal<T> diagonal(pass);
  // f(element, position in the tile): each thread always has the same elements
  const auto for_elements = [&](const auto& f) {
    for (int i = static_cast<int>(threadIdx.x); i < block.lines * n; i += static_cast<int>(blockDim.x)) {
      const Element e(i, n, block.lines, pass.along_x);
      f(e, e.line * n + e.index);
    }
  };
  const auto read = [&](const ComplexImages<const T>& stack, int coil, const Element& e) {
    const auto line = coil_line(stack, args, block.image, coil, block.first_lane + e.line);
    return Complex<T>{line.re[e.index * line.stride], line.im[e.index * line.stride]};
  };
  const auto write = [&](int coil, const Element& e, Pair<T> value) {
    const auto line = coil_line(pass.out, args, block.image, coil, block.first_lane + e.line);
    line.re[e.index * line.stride] = value.re;
    line.im[e.index * line.stride] = value.im;
  };

  fill_roots(roots, n);
  for_elements([&](const Element&, int at) { sum[at] = {0, 0}; });
  for (int coil = 0; coil < args.coils; ++coil) {
    Pair<T>* filled = tiles[0];
    for_elements([&](const Element& e, int at) {
      const Complex<T> value = read(pass.in, coil, e);
      filled[at] = as_pair(pass.forward ? multiply(read(args.sens_maps, coil, e), value) : value);
    });
    if (pass.forward) filled = transform_lines<-1>(filled, tiles[1], block.lines, factors, roots);
    if (pass.diagonal) {
      for (int i = static_cast<int>(threadIdx.x); i < block.lines * n; i += static_cast<int>(blockDim.x)) {
        const LineData<T> data(pass, block.image * args.coils + coil, block.first_lane + i / n);
        filled[i] = as_pair(diagonal.apply(as_complex(filled[i]), data.weight(i % n), {0, 0}));
      }
    }
    if (!pass.inverse) {
      for_elements([&](const Element& e, int at) { write(coil, e, filled[at]); });
      continue;
    }
    Pair<T>* spare = filled == tiles[0] ? tiles[1] : tiles[0];
    filled = transform_lines<1>(filled, spare, block.lines, factors, roots);
    for_elements([&](const Element& e, int at) {
      const Complex<T> part = multiply_conjugate(as_complex(filled[at]), read(args.sens_maps, coil, e));
      sum[at] = {sum[at].re + part.re, sum[at].im + part.im};
    });
  }
  if (pass.inverse) for_elements([&](const Element& e, int at) { write(0, e, sum[at]); });
}

template <class T>
void run(const SensePass<T>& pass, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if constexpr (std::is_same_v<T, float>) {
    if (sense_line_pass(pass, on)) return;
  }
  int lines;
  const LaunchShape shape = any_length_shape(pass.pass, 3, &lines, on);
  launch(any_length_sense_kernel<T>, shape, pass, factorize(pass.pass.n), lines);
}

// Interleaved images, batch_stride apart (in T), coils adjacent if they have any.
template <class T>
ComplexImages<T> stack_at(T* first, const KspaceShape& s, std::int64_t batch_stride, bool has_coils) {
  return {first, first + 1, batch_stride, has_coils ? 2 * s.ny * s.nx : 0, 2 * s.nx, 2};
}

template <class T>
SensePass<T> sense_pass(const SenseNormalArgs<T>& a, const ComplexImages<const T>& in, const ComplexImages<T>& out,
                        const ComplexImages<const T>& sens_maps, std::int64_t images, std::int64_t coils,
                        bool along_x) {
  KspaceShape shape = a.shape;
  shape.batch = images;
  return {pass_over(shape, in, out, along_x), sens_maps, static_cast<int>(coils), is_interleaved(sens_maps)};
}

// D = M / elements
template <class T>
void weigh(LinePass<T>& pass, const T* weights, std::int64_t elements) {
  pass.diagonal = true;
  pass.weights = weights;
  pass.scale = T(1) / static_cast<T>(elements);
}

template <class T>
void normal_of_image(const SenseNormalArgs<T>& a, std::int64_t image, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const std::int64_t size = 2 * s.ny * s.nx;
  const T* sens_maps = a.sens_maps + image * a.sens_maps_stride;
  T* const spectra = static_cast<T*>(work.scratch);  // of the coil images, transformed along x
  const auto coil_images = stack_at(spectra, s, size, false);
  SensePass<T> expand = sense_pass(a, stack_at(a.image + image * size, s, 0, false), coil_images,
                                   stack_at(sens_maps, s, size, false), a.coils, 1, true);
  expand.pass.forward = true;
  run(expand, work.stream);

  KspaceShape of_coils = s;
  of_coils.batch = a.coils;
  LinePass<T> columns = pass_over(of_coils, read_only(coil_images), coil_images, false);
  columns.forward = columns.inverse = true;
  // Masks belong to coil images; those of this image have one each, or all the same.
  const std::int64_t mask = image * a.coils / s.batch_per_mask, tiles = (s.nx + kTile - 1) / kTile;
  weigh(columns, a.weights + mask * tiles * s.ny * kTile, s.ny * s.nx);
  run(columns, work.stream);

  SensePass<T> combine =
      sense_pass(a, stack_at<const T>(spectra, s, 0, true), stack_at(a.out + image * size, s, 0, false),
                 stack_at(sens_maps, s, 0, true), 1, a.coils, true);
  combine.pass.inverse = true;
  run(combine, work.stream);
}

}  // namespace

template <class T>
void sense_normal_cuda(const SenseNormalArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const std::int64_t images = s.batch / a.coils, size = 2 * s.ny * s.nx;
  if (s.axes == Axes::xy) {
    for (std::int64_t image = 0; image < images; ++image) normal_of_image(a, image, work);
    return;
  }
  SensePass<T> all = sense_pass(a, stack_at(a.image, s, size, false), stack_at(a.out, s, size, false),
                                stack_at(a.sens_maps, s, a.sens_maps_stride, true), images, a.coils, s.axes == Axes::x);
  all.pass.forward = all.pass.inverse = true;
  weigh(all.pass, a.weights, all.pass.n);
  run(all, work.stream);
}

template <class T>
std::int64_t sense_normal_cuda_scratch_bytes(const SenseNormalArgs<T>& a) {
  return a.shape.axes == Axes::xy ? 2 * a.coils * a.shape.ny * a.shape.nx * std::int64_t{sizeof(T)} : 0;
}

template std::int64_t sense_normal_cuda_scratch_bytes(const SenseNormalArgs<float>&);
template std::int64_t sense_normal_cuda_scratch_bytes(const SenseNormalArgs<double>&);
template void sense_normal_cuda<float>(const SenseNormalArgs<float>&, const Workspace&);
template void sense_normal_cuda<double>(const SenseNormalArgs<double>&, const Workspace&);

}  // namespace csmri
