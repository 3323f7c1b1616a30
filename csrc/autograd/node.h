// What the graph nodes of all operators share.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <array>
#include <mutex>

#include "torch_version.h"

namespace activations_ext {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Float parameters, saved tensors that are released after use, and the two functions that compiled
// autograd needs. Written as torch's generated nodes are.
template <std::size_t kParameters, int kSaved>
struct SavingNode : torch::autograd::Node {
  std::array<double, kParameters> parameters;
  SavedVariable saved[kSaved];
  bool saved_is_output = false;  // of saved[0]

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable& variable : saved) variable.reset_data();
  }
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    for (const SavedVariable& variable : saved)
      args.collect(variable, &variable == saved && saved_is_output);
    for (const double parameter : parameters) args.collect(parameter);
  }
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    for (SavedVariable& variable : saved) swap.before(variable);
    variable_list result = apply(variable_list(grads));
    for (SavedVariable& variable : saved) swap.after(variable);
    return result;
  }

 protected:
  at::Tensor unpack(int index) { return saved[index].unpack(getptr()); }
};

inline at::Tensor tangent_of(const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0); }
inline at::Tensor primal_of(const at::Tensor& tensor) {
  return torch::autograd::isFwGradDefined(tensor) ? tensor._fw_primal(/*level=*/0) : tensor;
}

// Somebody will differentiate what is computed of these, backward or forward.
template <class... Tensors>
bool is_differentiated(const Tensors&... tensors) {
  return torch::autograd::compute_requires_grad(tensors...) ||
         (torch::autograd::isFwGradDefined(tensors) || ...);
}

}  // namespace activations_ext
