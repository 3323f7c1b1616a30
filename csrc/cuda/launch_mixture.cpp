#include <c10/cuda/CUDAException.h>

#include "../device/as_mixtures.h"
#include "cuda_launchers.h"

namespace activations_ext::cuda {

at::Tensor CudaLaunchers::mixture_nll(const MixtureTensors& of) const {
  const MixtureJob job(of);
  const at::Tensor nll = job.empty_result();
  if (job.rows.rows == 0) return nll;
  const Queue queue(of.mean);
  mixture_kernels(number_of(of.mean.scalar_type()))
      .forward(job.rows, nll.mutable_data_ptr(), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return nll;
}

MixtureGradientTensors CudaLaunchers::mixture_backward(const at::Tensor& grad_nll,
                                                       const MixtureTensors& of) const {
  const MixtureJob job(of);
  const MixtureGradientTensors result = job.empty_gradient();
  if (job.rows.rows == 0) return result;
  const at::Tensor grad = grad_nll.contiguous();
  const Queue queue(of.mean);
  mixture_kernels(number_of(of.mean.scalar_type()))
      .backward(job.rows, MixtureJob::memory(grad, result), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return result;
}

}  // namespace activations_ext::cuda
