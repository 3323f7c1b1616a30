#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>

#include <array>
#include <atomic>

#include "cuda_launchers.h"
#include "walk_of.h"

namespace activations_ext::cuda {

namespace {
const CudaLaunchers launchers;
const bool known = set_launchers(at::kCUDA, launchers);

// Of the current device.
bool has_image() {
  if (kernels_have_image()) return true;
  int device = 0;
  cudaDeviceProp card;
  C10_CUDA_CHECK(cudaGetDevice(&device));
  C10_CUDA_CHECK(cudaGetDeviceProperties(&card, device));
  TORCH_WARN("activations_ext has no kernels for ", card.name, ": it was not compiled for compute ",
             "capability ", card.major, ".", card.minor, ". torch's own functions run instead; ",
             "built on this machine with TORCH_CUDA_ARCH_LIST=", card.major, ".", card.minor,
             ", it has them.");
  return false;
}

}  // namespace

bool CudaLaunchers::runs_on(c10::DeviceIndex device) const {
  enum Answer : signed char { kNotAsked, kYes, kNo };
  static std::array<std::atomic<Answer>, C10_COMPILE_TIME_MAX_GPUS> answers = {};
  std::atomic<Answer>& answer = answers.at(std::size_t(device));
  if (answer == kNotAsked) {
    const c10::cuda::CUDAGuard guard(device);
    answer = has_image() ? kYes : kNo;
  }
  return answer == kYes;
}

void CudaLaunchers::pointwise_into(const at::Tensor& out, const Pointwise& op, const at::Tensor& a,
                                   const at::Tensor& b) const {
  if (out.numel() == 0) return;
  if (!out.is_non_overlapping_and_dense()) {
    at::AutoDispatchBelowADInplaceOrView below;
    out.copy_(pointwise(op, a, b));
    return;
  }
  std::array<at::Tensor, 2> inputs = {a, b};
  const Walk walk = walked(std::span(inputs).first(b.defined() ? 2 : 1), out);
  const auto kernel =
      kernels().pointwise[op.index][int(number_of(out.scalar_type()))][int(op.pass)];
  const Queue queue(out);
  kernel(op.activation, writable(out), readable(inputs[0]),
         b.defined() ? readable(inputs[1]) : nullptr, walk, out.numel(), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

at::Tensor CudaLaunchers::pointwise(const Pointwise& op, const at::Tensor& a,
                                    const at::Tensor& b) const {
  const at::Tensor out = at::empty_like(b.defined() ? layout_of(a, b) : a);
  pointwise_into(out, op, a, b);
  return out;
}

at::Tensor CudaLaunchers::prelu(const at::Tensor& input, const at::Tensor& weight) const {
  if (input.numel() == 0) return at::empty_like(input);
  const at::Tensor x = channels_somewhere(input), weights = weight.contiguous();
  const at::Tensor result = at::empty_like(x);
  const Queue queue(input);
  kernels().prelu[int(number_of(x.scalar_type()))].forward(
      writable(result), readable(x), readable(weights), channel_shape(x, weight.numel()), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return laid_out_as(input, result);
}

std::pair<at::Tensor, at::Tensor> CudaLaunchers::prelu_backward(const at::Tensor& grad_output,
                                                                const at::Tensor& input,
                                                                const at::Tensor& weight,
                                                                bool overwrite) const {
  const at::Tensor grad_weight = at::empty_like(weight, at::MemoryFormat::Contiguous);
  if (input.numel() == 0) return {at::empty_like(input), grad_weight.zero_()};
  const at::Tensor x = channels_somewhere(input), weights = weight.contiguous();
  const at::Tensor grad = laid_out_as(x, grad_output);
  const at::Tensor grad_input = overwrite ? grad : at::empty_like(x);
  const ChannelShape shape = channel_shape(x, weight.numel());
  const at::Tensor partial =
      at::empty({channel_splits(shape), shape.channels}, x.options().dtype(at::kDouble));
  const Queue queue(input);
  kernels().prelu[int(number_of(x.scalar_type()))].backward(
      writable(grad_input), writable(grad_weight), partial.mutable_data_ptr<double>(),
      readable(grad), readable(x), readable(weights), shape, queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {laid_out_as(input, grad_input), grad_weight};
}

at::Tensor CudaLaunchers::random(int index, const void* activation, const at::Tensor& a,
                                 const at::Tensor& gate, const at::Tensor& seed) const {
  if (a.numel() == 0) return at::empty_like(a);
  const at::Tensor x = a.contiguous(), y = gate.contiguous();
  const at::Tensor out = at::empty_like(x);
  const Queue queue(a);
  kernels().random[index][int(number_of(x.scalar_type()))](
      activation, writable(out), readable(x), readable(y), seed.const_data_ptr<int64_t>(),
      out.numel(), queue);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  if (a.is_contiguous()) return out;
  return at::empty_like(layout_of(a, gate)).copy_(out);
}

}  // namespace activations_ext::cuda
