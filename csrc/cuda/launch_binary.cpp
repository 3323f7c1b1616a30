#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <c10/cuda/CUDAException.h>

#include "cuda_launchers.h"
#include "walk_of.h"

namespace activations_ext::cuda {
namespace {

const BinaryKernels& kernels_of(const BinaryTensors& of) {
  return binary_kernels(number_of(of.logits.scalar_type()), /*focal=*/of.gamma != 0);
}

// The kernels' inputs, which it keeps alive.
class Inputs {
 public:
  // The elements are in the order of `model`, which is dense.
  Inputs(const at::Tensor& model, const at::Tensor& grad_output, const BinaryTensors& of) {
    if (grad_output.defined()) tensors_.push_back(grad_output);
    tensors_.push_back(of.logits);
    tensors_.push_back(of.target);
    for (const at::Tensor& weight : {of.pos_weight, of.weight})
      if (weight.defined()) tensors_.push_back(weight);
    job_ = {.walk = walked(tensors_, model),
            .count = model.numel(),
            .weights = of.pos_weight.defined() + of.weight.defined(),
            .positive = of.pos_weight.defined(),
            .gamma = of.gamma};
    for (std::size_t i = 0; i < tensors_.size(); ++i) job_.inputs[i] = readable(tensors_[i]);
  }
  const BinaryJob& job() const { return job_; }

 private:
  std::vector<at::Tensor> tensors_;
  BinaryJob job_;
};

bool is_one_number(const at::Tensor& tensor) {
  for (int64_t d = 0; d < tensor.dim(); ++d)
    if (tensor.size(d) != 1 && tensor.stride(d) != 0) return false;
  return true;
}

}  // namespace

at::Tensor CudaLaunchers::binary_losses(const BinaryTensors& of) const {
  const at::Tensor out = at::empty_like(of.target);
  if (out.numel() == 0) return out;
  const Inputs inputs(out, {}, of);
  const Queue queue(out);
  kernels_of(of).losses(inputs.job(), writable(out), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

at::Tensor CudaLaunchers::binary_sum(const BinaryTensors& of, double divisor) const {
  const int64_t count = of.logits.numel();
  if (count == 0) return at::full({}, 0.0 / divisor, of.logits.options());
  BinaryTensors dense = of;
  if (!of.logits.is_non_overlapping_and_dense()) dense.logits = of.logits.contiguous();
  const at::Tensor out = at::empty({}, of.logits.options());
  const at::Tensor partial = at::empty({binary_parts(count)}, out.options().dtype(at::kDouble));
  const Inputs inputs(dense.logits, {}, dense);
  const Queue queue(out);
  kernels_of(of).sum(inputs.job(), writable(out), partial.mutable_data_ptr<double>(), divisor,
                     queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

at::Tensor CudaLaunchers::binary_backward(const at::Tensor& grad_output, double scale,
                                          const BinaryTensors& of) const {
  const at::Tensor out = at::empty_like(of.logits);
  if (out.numel() == 0) return out;
  const bool one = is_one_number(grad_output);
  const Inputs inputs(out, one ? at::Tensor() : grad_output, of);
  const Queue queue(out);
  kernels_of(of).gradient(inputs.job(), writable(out), one ? readable(grad_output) : nullptr, scale,
                          queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return out;
}

}  // namespace activations_ext::cuda
