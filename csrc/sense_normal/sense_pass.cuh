// One pass over lines with the coils of SENSE in it: for line by line of image i and coil c = 0 ... coils - 1,
//
//     forward, inverse   out_i  = sum_c conj(S_ic) F^-1 D F S_ic in_i        masks along one axis: all there is
//     forward            out_ic = F S_ic in_i                                first of three passes
//     inverse            out_i  = sum_c conj(S_ic) F^-1 in_ic                last of three passes
//
// S_ic is image i, replica c of sens_maps; what belongs to a coil lies replica_stride after that of the coil before.
#pragma once
#include "fft/lines.cuh"

namespace csmri {

template <class T>
struct SensePass {
  LinePass<T> pass;  // of images without coils; batch_per_mask counts coil images, replicas is 1
  ComplexImages<const T> sens_maps;
  int coils;
  bool sens_maps_pairs;  // is_interleaved
};

template <class T>
__device__ __forceinline__ Line<T> coil_line(const ComplexImages<T>& stack, const SensePass<std::remove_const_t<T>>& s,
                                             int image, int coil, int lane) {
  return line_of(stack, s.pass.along_x, s.coils, image * s.coils + coil, lane);
}

// False where the length has no kernel of its own (sense_normal_lines_cuda.cu).
bool sense_line_pass(const SensePass<float>& pass, cudaStream_t stream);

}  // namespace csmri
