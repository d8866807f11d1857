// Instantiates line_pass_kernel (line_kernel.cuh).
#include "fft/line_launch.cuh"

namespace csmri {

bool line_pass(const LinePass<float>& pass, cudaStream_t stream) {
  return for_length(pass.n, LineSplits{}, [&](auto split) {
    using S = decltype(split);
    launch(line_pass_kernel<S::kFirst, S::kSecond>, line_shape<S>(pass, false, stream), pass);
  });
}

}  // namespace csmri
