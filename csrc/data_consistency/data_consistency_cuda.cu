// Entry points of data consistency on CUDA: which passes over lines make up a call (fft/lines.cuh).
//
// Axes::x, y: one pass. Axes::xy: DFT of the rows; DFT, weights and inverse DFT of the columns; inverse DFT of the
// rows: 48 bytes per pixel, data and weights apart, through global memory or, where the images fit, the second-level
// cache. The output holds the spectra in between.
#include "data_consistency/data_consistency.hpp"
#include "fft/passes.cuh"

namespace csmri {
namespace {

template <class T>
void run(const BackwardPass<T>& args, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if constexpr (std::is_same_v<T, float>) {
    if (line_backward(args, on)) return;
  }
  any_length_backward(args, on);
}

template <class T>
void transform_rows(const KspaceShape& shape, const ComplexImages<const T>& in, const ComplexImages<T>& out,
                    bool inverse, void* stream) {
  LinePass<T> pass = pass_over(shape, in, out, true);
  (inverse ? pass.inverse : pass.forward) = true;
  run(pass, stream);
}

// The pass that applies the diagonal, along x for Axes::x, else along y.
template <class T, class Args>
LinePass<T> diagonal_pass(const Args& args, const ComplexImages<const T>& in, const ComplexImages<T>& out) {
  const KspaceShape& shape = args.shape;
  LinePass<T> pass = pass_over(shape, in, out, shape.axes == Axes::x);
  pass.forward = pass.diagonal = pass.inverse = true;
  pass.samples = args.samples, pass.weights = args.weights, pass.eta = args.eta;
  pass.identity = args.add_image ? T(1) : T(0);
  pass.scale = T(1) / static_cast<T>(shape.axes == Axes::xy ? shape.ny * shape.nx : pass.n);
  return pass;
}

// grad_eta = sum of the partials, in a fixed order. One block of 256 threads.
template <class T>
__global__ void __launch_bounds__(256) sum_partials_kernel(const double* partials, int n, T* out) {
  double* sums = dynamic_shared<double>();
  const int t = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (int i = t; i < n; i += 256) sum += partials[i];
  sums[t] = sum;
  for (int half = 128; half; half /= 2) {
    __syncthreads();
    if (t < half) sums[t] += sums[t + half];
  }
  if (t == 0) *out = static_cast<T>(sums[0]);
}

// Scratch of the backward pass: row transforms of the images for Axes::xy, one partial for each line.
template <class T>
struct CallScratch {
  T* spectra;
  double* partials;
  std::int64_t bytes;

  CallScratch(const KspaceShape& s, void* scratch) {
    ScratchCursor cursor(scratch);
    spectra = cursor.take<T>(s.axes == Axes::xy ? s.n_values() : 0);
    partials = cursor.take<double>(s.n_lines());
    bytes = cursor.bytes();
  }
};

}  // namespace

template <class T>
void data_consistency_cuda(const DataConsistencyArgs<T>& args, const Workspace& work) {
  if (args.shape.axes != Axes::xy) return run(diagonal_pass(args, args.image, args.out), work.stream);
  transform_rows(args.shape, args.image, args.out, false, work.stream);
  run(diagonal_pass(args, read_only(args.out), args.out), work.stream);
  transform_rows(args.shape, read_only(args.out), args.out, true, work.stream);
}

template <class T>
void data_consistency_backward_cuda(const DataConsistencyBackwardArgs<T>& args, const Workspace& work) {
  const KspaceShape& shape = args.shape;
  BackwardPass<T> backward{};
  const CallScratch<T> call(shape, work.scratch);
  backward.partials = call.partials;
  if (shape.axes == Axes::xy) {
    const std::int64_t image_size = 2 * shape.ny * shape.nx;
    const ComplexImages<T> spectra{call.spectra, call.spectra + 1, shape.replicas * image_size,
                                   image_size,   2 * shape.nx,     2};
    transform_rows(shape, args.image, spectra, false, work.stream);
    transform_rows(shape, args.grad, args.grad_image, false, work.stream);
    backward.pass = diagonal_pass(args, read_only(args.grad_image), args.grad_image);
    backward.image = read_only(spectra);
  } else {
    backward.pass = diagonal_pass(args, args.grad, args.grad_image);
    backward.image = args.image;
  }
  backward.image_pairs = is_interleaved(backward.image);
  run(backward, work.stream);
  if (shape.axes == Axes::xy) transform_rows(shape, read_only(args.grad_image), args.grad_image, true, work.stream);
  launch(sum_partials_kernel<T>, {dim3(1), dim3(256), 256 * sizeof(double), static_cast<cudaStream_t>(work.stream)},
         call.partials, backward.pass.images * backward.pass.lanes, args.grad_eta);
}

template <class T>
std::int64_t data_consistency_backward_cuda_scratch_bytes(const DataConsistencyBackwardArgs<T>& args) {
  return CallScratch<T>(args.shape, nullptr).bytes;
}

template std::int64_t data_consistency_backward_cuda_scratch_bytes(const DataConsistencyBackwardArgs<float>&);
template std::int64_t data_consistency_backward_cuda_scratch_bytes(const DataConsistencyBackwardArgs<double>&);
template void data_consistency_cuda<float>(const DataConsistencyArgs<float>&, const Workspace&);
template void data_consistency_cuda<double>(const DataConsistencyArgs<double>&, const Workspace&);
template void data_consistency_backward_cuda<float>(const DataConsistencyBackwardArgs<float>&, const Workspace&);
template void data_consistency_backward_cuda<double>(const DataConsistencyBackwardArgs<double>&, const Workspace&);

}  // namespace csmri
