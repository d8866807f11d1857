// The passes of lines.cuh for any line length, float32 and float64 (any_length.cuh).
//
// A block holds one row, or a few neighbouring columns so that whole 32-byte sectors are read. Same bytes as
// line_kernel.cuh, but bound by shared memory: every factor r of n reads r elements for each one that it writes.
#include "fft/any_length.cuh"

namespace csmri {
namespace {

template <class T>
__global__ void __launch_bounds__(kAnyLengthThreads)
    any_length_pass_kernel(const LinePass<T> pass, const Factors factors, int lines_per_block) {
  Pair<T>* roots = dynamic_shared<Pair<T>>();
  Pair<T>* tile = roots + pass.n;
  Pair<T>* spare = tile + lines_per_block * pass.n;
  const BlockOfLines block(pass, lines_per_block);
  fill_roots(roots, pass.n);
  load_lines(tile, pass.in, pass, block);
  __syncthreads();
  Pair<T>* filled = tile;
  if (pass.forward) filled = transform_lines<-1>(tile, spare, block.lines, factors, roots);
  if (pass.diagonal) {
    const Diagonal<T> diagonal(pass);
    for_each_frequency(pass, block, [&](int k, int i, const LineData<T>& data) {
      const T m = data.weight(k);
      filled[i] = as_pair(diagonal.apply(as_complex(filled[i]), m, data.sample(k, m)));
    });
    __syncthreads();
  }
  if (pass.inverse) filled = transform_lines<1>(filled, filled == tile ? spare : tile, block.lines, factors, roots);
  store_lines(filled, pass, block);
}

template <class T>
__global__ void __launch_bounds__(kAnyLengthThreads)
    any_length_backward_kernel(const BackwardPass<T> args, const Factors factors, int lines_per_block) {
  const LinePass<T>& pass = args.pass;
  const int n = pass.n;
  Pair<T>* roots = dynamic_shared<Pair<T>>();
  Pair<T>* tiles[3];
  for (int i = 0; i < 3; ++i) tiles[i] = roots + n + i * lines_per_block * n;
  const BlockOfLines block(pass, lines_per_block);
  const Diagonal<T> diagonal(pass);
  fill_roots(roots, n);

  load_lines(tiles[0], args.image, pass, block);
  Pair<T>* residual = transform_lines<-1>(tiles[0], tiles[1], block.lines, factors, roots);  // s - m X
  for_each_frequency(pass, block, [&](int k, int i, const LineData<T>& data) {
    const T m = data.weight(k);
    const Complex<T> sample = data.sample(k, m), x = as_complex(residual[i]);
    residual[i] = {sample.re - m * x.re, sample.im - m * x.im};
  });
  Pair<T>* free_tile = residual == tiles[0] ? tiles[1] : tiles[0];
  load_lines(tiles[2], pass.in, pass, block);
  Pair<T>* spectrum = transform_lines<-1>(tiles[2], free_tile, block.lines, factors, roots);
  free_tile = spectrum == free_tile ? tiles[2] : free_tile;

  // One warp a line, in a fixed order; the terms take the place of the residual.
  for_each_frequency(pass, block, [&](int k, int i, const LineData<T>& data) {
    const Complex<T> g = as_complex(spectrum[i]), r = as_complex(residual[i]);
    residual[i].re = g.re * r.re + g.im * r.im;
    spectrum[i] = as_pair(diagonal.apply(g, data.weight(k), {0, 0}));
  });
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int line = warp; line < block.lines; line += static_cast<int>(blockDim.x) / 32) {
    double sum = 0;
    for (int k = lane; k < n; k += 32) sum += residual[line * n + k].re;
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (lane == 0)
      args.partials[static_cast<std::int64_t>(block.image) * pass.lanes + block.first_lane + line] = sum * pass.scale;
  }
  store_lines(transform_lines<1>(spectrum, free_tile, block.lines, factors, roots), pass, block);
}

}  // namespace

template <class T>
void any_length_pass(const LinePass<T>& pass, cudaStream_t stream) {
  int lines;
  const LaunchShape shape = any_length_shape(pass, 2, &lines, stream);
  launch(any_length_pass_kernel<T>, shape, pass, factorize(pass.n), lines);
}
template <class T>
void any_length_backward(const BackwardPass<T>& args, cudaStream_t stream) {
  int lines;
  const LaunchShape shape = any_length_shape(args.pass, 3, &lines, stream);
  launch(any_length_backward_kernel<T>, shape, args, factorize(args.pass.n), lines);
}
template void any_length_pass<float>(const LinePass<float>&, cudaStream_t);
template void any_length_pass<double>(const LinePass<double>&, cudaStream_t);
template void any_length_backward<float>(const BackwardPass<float>&, cudaStream_t);
template void any_length_backward<double>(const BackwardPass<double>&, cudaStream_t);

}  // namespace csmri
