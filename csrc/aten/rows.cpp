// softmax, log_softmax and the cross-entropy behind torch's operators.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_log_softmax_backward_data_cpu_dispatch.h>
#include <ATen/ops/_log_softmax_cpu_dispatch.h>
#include <ATen/ops/_softmax_backward_data_cpu_dispatch.h>
#include <ATen/ops/_softmax_cpu_dispatch.h>
#include <ATen/ops/cross_entropy_loss_native.h>

#include "../autograd/node.h"
#include "../autograd/plain.h"
#include "../ops/cross_entropy.h"
#include "ours.h"
#include "replace.h"

namespace activations_ext::aten {
namespace {

using Softmax = Tensor (*)(const Tensor&, int64_t, bool);
using SoftmaxBackward = Tensor (*)(const Tensor&, const Tensor&, int64_t, at::ScalarType);

bool has_dim(const Tensor& tensor, int64_t dim) {
  const int64_t rank = std::max<int64_t>(1, tensor.dim());
  return -rank <= dim && dim < rank;
}

template <bool kLogarithm, Softmax kTorchs>
Tensor softmax(const Tensor& input, int64_t dim, bool half_to_float) {
  if (half_to_float || !takes(input) || !has_dim(input, dim))
    return kTorchs(input, dim, half_to_float);
  if (dim < 0) dim += std::max<int64_t>(1, input.dim());
  return launch_on(input).softmax(input, dim, kLogarithm);
}

template <bool kLogarithm, SoftmaxBackward kTorchs>
Tensor softmax_backward(const Tensor& grad_output, const Tensor& output, int64_t dim,
                        at::ScalarType input_dtype) {
  if (input_dtype != output.scalar_type() || !takes(grad_output, output) || !has_dim(output, dim))
    return kTorchs(grad_output, output, dim, input_dtype);
  if (dim < 0) dim += std::max<int64_t>(1, output.dim());
  return launch_on(output).softmax_backward(grad_output, output, dim, kLogarithm);
}

CrossEntropy compute_beyond = nullptr;
thread_local bool computing = false;  // what `compute_beyond` leaves to torch comes back here

// torch's is a composite, so ours is registered at AutogradCPU.
Tensor cross_entropy_loss(const Tensor& logits, const Tensor& target,
                          const std::optional<Tensor>& weight, int64_t reduction,
                          c10::SymInt ignore_index, double label_smoothing) {
  const auto torchs = [&] {
    return at::native::cross_entropy_loss_symint(logits, target, weight, reduction, ignore_index,
                                                 label_smoothing);
  };
  const auto ignored = ignore_index.maybe_as_int();
  if (computing || !ignored.has_value() || is_transformed() || !is_plain(logits) ||
      !is_plain_memory(target) || (weight.has_value() && !is_plain_memory(*weight)) ||
      reduction < at::Reduction::None || reduction > at::Reduction::Sum)
    return torchs();
  if (!weight.has_value() && label_smoothing == 0) {
    const Tensor usual =
        cross_entropy(logits, target, *ignored, static_cast<at::Reduction::Reduction>(reduction));
    if (usual.defined()) return usual;
  }
  if (compute_beyond == nullptr) return torchs();
  struct Computing {
    Computing() { computing = true; }
    ~Computing() { computing = false; }
  } now;
  return compute_beyond(logits, target, weight, reduction, *ignored, label_smoothing);
}

}  // namespace

void set_cross_entropy(CrossEntropy compute) { compute_beyond = compute; }

const std::vector<Group>& rows() {
  static const std::vector<Group> groups = {
      {"softmax",
       {{"_softmax", &implement_function<&softmax<false, &at::cpu::_softmax>>},
        {"_softmax_backward_data",
         &implement_function<&softmax_backward<false, &at::cpu::_softmax_backward_data>>}}},
      {"log_softmax",
       {{"_log_softmax", &implement_function<&softmax<true, &at::cpu::_log_softmax>>},
        {"_log_softmax_backward_data",
         &implement_function<&softmax_backward<true, &at::cpu::_log_softmax_backward_data>>}}},
      {"cross_entropy_loss", {{"cross_entropy_loss", &implement_function<&cross_entropy_loss>}}},
  };
  return groups;
}

}  // namespace activations_ext::aten
