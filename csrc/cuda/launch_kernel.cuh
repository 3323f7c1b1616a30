// kernel<<<blocks, threads, shared, stream>>>(arguments…) and shared memory, which are not C++. On
// the host, the tests provide a launch of their own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace activations_ext::cuda {

struct Blocks {
  int64_t x;
  int y = 1, shared = 0;  // bytes of dynamic shared memory
};

constexpr int kSharedWithoutAsking = 48 << 10;

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Blocks blocks, int threads, cudaStream_t stream,
            Arguments... arguments) {
  const dim3 grid(unsigned(blocks.x), unsigned(blocks.y));
#if defined(__CUDACC__)
  if (blocks.shared > kSharedWithoutAsking)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, blocks.shared);
  kernel<<<grid, unsigned(threads), unsigned(blocks.shared), stream>>>(arguments...);
#else
  cuda_on_host::launch_with_shared(kernel, grid, unsigned(threads), unsigned(blocks.shared),
                                   arguments...);
#endif
}

// The kernel was compiled for the current device.
template <class Kernel>
bool has_image(Kernel kernel) {
#if defined(__CUDACC__)
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess) return true;
  cudaGetLastError();  // not the next caller's
  return false;
#else
  return kernel != nullptr;
#endif
}

// What a block of the current device may ask for.
inline int64_t shared_bytes_of_device() {
#if defined(__CUDACC__)
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
          cudaSuccess)
    return kSharedWithoutAsking;
  return bytes;
#else
  return cuda_on_host::kSharedBytes;
#endif
}

#if defined(__CUDACC__)
__device__ inline uint4* dynamic_shared() {
  extern __shared__ uint4 memory[];
  return memory;
}
#else
inline uint4* dynamic_shared() { return static_cast<uint4*>(cuda_on_host::dynamic_shared()); }
#endif

}  // namespace activations_ext::cuda
