// The passes of sense_pass.cuh for tabulated lengths in float32, by the transforms of line_kernel.cuh.
//
// A thread keeps its part of the image and of the sum in registers while the coils go by: per pixel, 8 bytes for each
// coil and 16 for the image and the result. Sensitivities are used twice, the second time out of the first-level cache.
#include "fft/line_launch.cuh"
#include "sense_normal/sense_pass.cuh"

namespace csmri {
namespace {

template <int R1, int R2>
__global__ void __launch_bounds__(LineGeometry<R1, R2>::kMaxThreads) sense_line_kernel(const SensePass<float> args) {
  const LinePass<float>& pass = args.pass;
  const LineGeometry<R1, R2> place(pass, dynamic_shared<float2>());
  const int t = place.t;
  const bool holds_image = place.live && t < R2, holds_spectrum = place.live && t < R1;
  const Diagonal<float> diagonal(pass);
  Complex<float> v[place.kThreads], image[R1], sum[R1];
  if (pass.forward && holds_image)
    load_line<R1>(image, coil_line(pass.in, args, place.image, 0, place.lane), pass.in_pairs, t, R2);
  CSMRI_UNROLL
  for (int j = 0; j < R1; ++j) sum[j] = {0, 0};

  for (int coil = 0; coil < args.coils; ++coil) {
    const auto sens_maps = coil_line(args.sens_maps, args, place.image, coil, place.lane);
    if (pass.forward) {
      if (holds_image) {
        load_line<R1, false>(v, sens_maps, args.sens_maps_pairs, t, R2);
        CSMRI_UNROLL
        for (int j = 0; j < R1; ++j) v[j] = multiply(v[j], image[j]);
      }
      forward_line(place, v);
    } else if (holds_spectrum) {
      load_line<R2>(v, coil_line(pass.in, args, place.image, coil, place.lane), pass.in_pairs, t, R1);
    }
    if (pass.diagonal && holds_spectrum) {
      const LineData<float> data(pass, place.image * args.coils + coil, place.lane);
      CSMRI_UNROLL
      for (int j = 0; j < R2; ++j) v[j] = diagonal.apply(v[j], data.weight(t + R1 * j), {0, 0});
    }
    if (pass.inverse) {
      inverse_line(place, v);
      if (holds_image) {
        Complex<float> s[R1];
        load_line<R1, false>(s, sens_maps, args.sens_maps_pairs, t, R2);
        CSMRI_UNROLL
        for (int j = 0; j < R1; ++j) sum[j] = sum[j] + multiply_conjugate(v[j], s[j]);
      }
      if (!pass.forward) __syncthreads();  // the next spectrum goes into rows of which others still read columns
    } else if (holds_spectrum) {
      store_line<R2>(v, coil_line(pass.out, args, place.image, coil, place.lane), pass.out_pairs, t, R1);
    }
  }
  if (pass.inverse && holds_image)
    store_line<R1>(sum, coil_line(pass.out, args, place.image, 0, place.lane), pass.out_pairs, t, R2);
}

}  // namespace

bool sense_line_pass(const SensePass<float>& pass, cudaStream_t stream) {
  return for_length(pass.pass.n, LineSplits{}, [&](auto split) {
    using S = decltype(split);
    launch(sense_line_kernel<S::kFirst, S::kSecond>, line_shape<S>(pass.pass, false, stream), pass);
  });
}

}  // namespace csmri
