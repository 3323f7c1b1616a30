// kernel<<<blocks, threads, 0, stream>>>(arguments…), which is not C++: the tests run the kernels
// on the host by a launch of their own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace activations_ext::cuda {

struct Blocks {
  int64_t x;
  int y = 1;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Blocks blocks, int threads, cudaStream_t stream,
            Arguments... arguments) {
  const dim3 grid(unsigned(blocks.x), unsigned(blocks.y));
#if defined(__CUDACC__)
  kernel<<<grid, unsigned(threads), 0, stream>>>(arguments...);
#else
  cuda_on_host::launch(kernel, grid, unsigned(threads), arguments...);
#endif
}

}  // namespace activations_ext::cuda
