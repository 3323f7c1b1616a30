// How mixtures are shared between threads.

#include "../device/as_mixtures.h"
#include "../device/checks.h"
#include "cpu_launchers.h"
#include "share.h"

namespace activations_ext::cpu {
namespace {

const MixtureKernels& mixture_kernels(const MixtureJob& job) {
  return kernels().mixture[int(number_of(job.tensors.mean.scalar_type()))];
}

// work(begin, end) on all rows, in whole vectors of them.
template <class Work>
void for_mixtures(const MixtureRows& job, const Work& work) {
  const int64_t of_row = std::max<int64_t>(1, job.components * job.dimensions);
  share(job.rows, kMaxLanes, worth::kDeviations / of_row + 1, work);
}

}  // namespace

at::Tensor CpuLaunchers::mixture_nll(const MixtureTensors& of) const {
  const MixtureJob job(of);
  const at::Tensor nll = job.empty_result();
  const auto kernel = mixture_kernels(job).forward;
  void* const to = nll.mutable_data_ptr();
  for_mixtures(job.rows, [&](int64_t begin, int64_t end) { kernel(job.rows, to, begin, end); });
  return nll;
}

MixtureGradientTensors CpuLaunchers::mixture_backward(const at::Tensor& grad_nll,
                                                      const MixtureTensors& of) const {
  const MixtureJob job(of);
  const MixtureGradientTensors result = job.empty_gradient();
  const at::Tensor grad = grad_nll.contiguous();
  const MixtureGradient gradient = MixtureJob::memory(grad, result);
  const auto kernel = mixture_kernels(job).backward;
  for_mixtures(job.rows,
               [&](int64_t begin, int64_t end) { kernel(job.rows, gradient, begin, end); });
  return result;
}

}  // namespace activations_ext::cpu
