// kernel<<<blocks, threads, shared, stream>>>(arguments…) and shared memory, which are not C++. On
// the host, the tests provide a launch of their own.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace activations_ext::cuda {

struct Blocks {
  int64_t x;
  int y = 1, shared = 0;  // bytes of dynamic shared memory
  bool cluster = false;   // the blocks of the same x are one
};

constexpr int kSharedWithoutAsking = 48 << 10, kPortableCluster = 8;

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Blocks blocks, int threads, cudaStream_t stream,
            Arguments... arguments) {
  const dim3 grid(unsigned(blocks.x), unsigned(blocks.y));
#if defined(__CUDACC__)
  if (blocks.shared > kSharedWithoutAsking)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, blocks.shared);
  if (!blocks.cluster)
    return kernel<<<grid, unsigned(threads), unsigned(blocks.shared), stream>>>(arguments...);
  if (blocks.y > kPortableCluster)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = cluster.val.clusterDim.z = 1;
  cluster.val.clusterDim.y = unsigned(blocks.y);
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(unsigned(threads));
  config.dynamicSmemBytes = std::size_t(blocks.shared);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...);
#else
  cuda_on_host::launch_with_shared(kernel, grid, unsigned(threads), unsigned(blocks.shared),
                                   blocks.cluster, arguments...);
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

// The blocks of a cluster on the current device, at most.
inline int most_blocks_of_cluster() {
#if defined(__CUDACC__)
  int device = 0, major = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess)
    return 1;
  if (major == 9 || major == 10) return 2 * kPortableCluster;  // Hopper and large Blackwell GPUs
  return major > 10 ? kPortableCluster : 1;
#else
  return cuda_on_host::kMostBlocksOfCluster;
#endif
}

#if defined(__CUDACC__)
__device__ inline uint4* dynamic_shared() {
  extern __shared__ uint4 memory[];
  return memory;
}
// Of this block, the same for all of its threads.
template <int kBytes>
__device__ inline char* static_shared() {
  __shared__ alignas(16) char bytes[kBytes];
  return bytes;
}
// Every block of the cluster has come here, and sees what the others have written.
__device__ inline void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
#endif
}
// What is `mine` in block `rank` of the cluster.
template <class T>
__device__ inline const T* shared_of(const T* mine, int rank) {
#if __CUDA_ARCH__ >= 900
  const T* result;
  asm("mapa.u64 %0, %1, %2;" : "=l"(result) : "l"(mine), "r"(rank));
  return result;
#else
  return mine;
#endif
}
#else
inline uint4* dynamic_shared() { return static_cast<uint4*>(cuda_on_host::dynamic_shared()); }
template <int kBytes>
char* static_shared() {
  return cuda_on_host::static_shared<kBytes>();
}
inline void cluster_barrier() { cuda_on_host::Block::wait(cuda_on_host::Block::kClusterBarrier); }
template <class T>
const T* shared_of(const T* mine, int rank) {
  return cuda_on_host::shared_of(mine, rank);
}
#endif

}  // namespace activations_ext::cuda
