#include "launchers.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>

namespace activations_ext {
namespace {

constexpr int kDevices = int(c10::DeviceType::COMPILE_TIME_MAX_DEVICE_TYPES);
constinit const Launchers* launchers_of[kDevices] = {};

}  // namespace

bool set_launchers(c10::DeviceType device, const Launchers& launchers) {
  launchers_of[int(device)] = &launchers;
  return true;
}

bool has_launchers(c10::DeviceType type) { return launchers_of[int(type)] != nullptr; }

bool has_launchers(c10::Device device) {
  return has_launchers(device.type()) &&
         launchers_of[int(device.type())]->runs_on(device.has_index() ? device.index() : 0);
}

const Launchers& launchers_on(c10::Device device) {
  TORCH_CHECK_NOT_IMPLEMENTED(has_launchers(device),
                              "activations_ext was built without kernels for ", device,
                              "; the functions of activations_ext.functional call torch's own");
  return *launchers_of[int(device.type())];
}

std::pair<at::Tensor, at::Tensor> Launchers::divergence(const Divergence& of) const {
  TORCH_CHECK_NOT_IMPLEMENTED(false, "row_divergence has no kernel for ", of.logits.device());
}
at::Tensor Launchers::divergence_backward(const at::Tensor&, const Divergence& of,
                                          const at::Tensor&, bool) const {
  TORCH_CHECK_NOT_IMPLEMENTED(false, "row_divergence has no kernel for ", of.logits.device());
}

at::Tensor Launchers::gated(const GateOptions&, const at::Tensor& gate, const at::Tensor&) const {
  TORCH_CHECK_NOT_IMPLEMENTED(false, "gated has no kernel for ", gate.device());
}
void Launchers::gated_backward(const GateOptions&, const at::Tensor&, const at::Tensor& gate,
                               const at::Tensor&, const at::Tensor&, const at::Tensor&) const {
  TORCH_CHECK_NOT_IMPLEMENTED(false, "gated has no kernel for ", gate.device());
}
at::Tensor Launchers::empty_gradient(const at::Tensor& of) const { return at::empty_like(of); }

void Launchers::pointwise_in_place(const Pointwise& op, const at::Tensor& input) const {
  if (input.is_non_overlapping_and_dense()) return pointwise_into(input, op, input, {});
  at::AutoDispatchBelowADInplaceOrView below;
  input.copy_(pointwise(op, input, {}));  // which refuses expanded memory
}

}  // namespace activations_ext
