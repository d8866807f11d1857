// Instantiates line_backward_kernel (line_kernel.cuh).
#include "fft/line_launch.cuh"

namespace csmri {

bool line_backward(const BackwardPass<float>& args, cudaStream_t stream) {
  return for_length(args.pass.n, LineSplits{}, [&](auto split) {
    using S = decltype(split);
    launch(line_backward_kernel<S::kFirst, S::kSecond>, line_shape<S>(args.pass, true, stream), args);
  });
}

}  // namespace csmri
