// kernel<<<blocks, threads, 0, stream>>>(arguments…), which is not C++: the tests run the kernels
// on the host by a launch of their own.
#pragma once

#include <cuda_runtime_api.h>

namespace activations_ext::cuda {

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t stream,
            Arguments... arguments) {
#if defined(__CUDACC__)
  kernel<<<unsigned(blocks), unsigned(threads), 0, stream>>>(arguments...);
#else
  cuda_on_host::launch(kernel, unsigned(blocks), unsigned(threads), arguments...);
#endif
}

}  // namespace activations_ext::cuda
