// What the graph nodes of all operators share.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "../device/layout.h"
#include "members.h"
#include "plain.h"
#include "torch_version.h"

namespace activations_ext {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// "leaky_relu" to "LeakyRelu": what torch calls its nodes.
inline std::string camel_case(std::string_view name) {
  std::string result;
  bool starts = true;
  for (const char c : name) {
    if (c != '_') result += starts ? char(std::toupper(static_cast<unsigned char>(c))) : c;
    starts = c == '_';
  }
  return result;
}

// The types of this library's nodes and their names in Python; see python.cpp.
using NodeNames = std::vector<std::pair<const std::type_info*, std::string>>;
inline NodeNames& node_names() {
  static NodeNames names;
  return names;
}
template <class Rule>
struct GraphNode;
template <class... Rules>
bool name_nodes() {
  (node_names().emplace_back(&typeid(GraphNode<Rules>), Rules::title()), ...);
  return true;
}

// Which gradients are needed.
template <std::size_t kInputs>
using Needed = std::array<bool, kInputs>;

// For tensors that Python passes to a node: torch's operators would read freed memory.
inline void check_readable(const at::Tensor& tensor) {
  if (tensor.defined() && is_plain_memory(tensor)) check_storage(tensor);
}

// A graph node that saves a struct of tensors and numbers, and releases the tensors after use. The
// rule computes from its arguments alone, so that compiled autograd can record the call:
//
//   struct Rule {
//     struct Saved {…};                       // with members(); see members.h
//     static constexpr std::size_t kInputs;   // which the gradients are of
//     static std::string title();             // what Python calls the node
//     static variable_list gradients(variable_list grads, const Saved& of, const Needed& needed);
//   };
//
// `gradients` is called if any of `grads` is defined. `needed` says which of its results will be
// used; the others may be undefined.
template <class Rule>
struct GraphNode : torch::autograd::Node {
  using Saved = typename Rule::Saved;

  std::string name() const override { return Rule::title(); }

  // `results` are this node's own, which it must not own: after they have their history.
  void remember(const Saved& of, at::ArrayRef<at::Tensor> results = {}) {
    numbers_ = of;
    std::size_t i = 0;
    for_each_tensor(numbers_, [&](auto& tensor) {
      const at::Tensor kept = as_tensor(tensor);
      is_output_[i] = std::any_of(results.begin(), results.end(),
                                  [&](const at::Tensor& result) { return result.is_same(kept); });
      const bool view = is_output_[i] && kept.is_view();
      tensors_[i] = SavedVariable(kept, is_output_[i], view);
      belongs_to_copy_slices_ |= view;
      set_tensor(tensor, at::Tensor());
      ++i;
    });
  }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!any_defined(grads)) return variable_list(Rule::kInputs);
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (grads[i].defined()) check_shape(i, grads[i]);
    }
    return Rule::gradients(std::move(grads), unpacked(), needed());
  }

  // After an operator in place on a view, torch's CopySlices calls this node and drops it with what
  // it saved. The graph of a gradient may lead here too, and the engine comes to either first.
  void release_variables() override {
    if (belongs_to_copy_slices_) return;
    std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable& variable : tensors_) variable.reset_data();
  }

  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    for (std::size_t i = 0; i < kTensors; ++i) args.collect(tensors_[i], is_output_[i]);
    for_each_number(numbers_, [&](auto number) { args.collect(number); });
  }

  // While compiled autograd traces, tensors stand for others and have no shapes: the call is only
  // written down, and happens in `replay`.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using namespace torch::dynamo::autograd;
    for (SavedVariable& variable : tensors_) swap.before(variable);
    PackedArgs packed;
    std::vector<at::TypePtr> types;
    const auto pack = [&]<class T>(const T& value) {
      packed.pack(value);
      types.push_back(IValuePacker<T>::packed_type());
    };
    for_each_member(unpacked(), pack);
    for (const bool one : needed()) pack(one);

    const auto& compiler = getPyCompilerInterface();
    static const std::string bound_name =
        compiler->bind_function(swap.get_py_compiler(), Rule::title(), &replay, types,
                                /*is_custom_function=*/true, /*is_traceable=*/true);
    const c10::IValue metadata =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            get_input_metadata(next_edges()));
    variable_list result = compiler->call_function(swap.get_py_compiler(), "apply_functional",
                                                   bound_name, grads, packed.vec(), metadata);
    for (SavedVariable& variable : tensors_) swap.after(variable);
    return result;
  }

 private:
  static constexpr std::size_t kTensors = count_tensors<Saved>();
  Saved numbers_;  // its tensors are in the array below
  std::array<SavedVariable, kTensors> tensors_;
  std::array<bool, kTensors> is_output_ = {};
  bool belongs_to_copy_slices_ = false;

  using Needed = activations_ext::Needed<Rule::kInputs>;

  static bool any_defined(const variable_list& grads) {
    return std::any_of(grads.begin(), grads.end(), [](const auto& grad) { return grad.defined(); });
  }

  // The engine has seen to it, but Python may call `grad_fn` itself.
  void check_shape(std::size_t i, const at::Tensor& grad_output) const {
    const auto& expected = input_metadata(i);
    TORCH_CHECK(expected.is_same_shape(grad_output), name(),
                "(): expected argument 'grad_output' to have the shape of the result, ",
                expected.shape_as_dim_vector(), ", but got ", grad_output.sym_sizes());
    check_readable(grad_output);
  }

  Saved unpacked() {
    Saved result = numbers_;
    std::size_t i = 0;
    for_each_tensor(result, [&](auto& tensor) {
      const at::Tensor one = tensors_[i++].unpack(getptr());
      check_readable(one);
      set_tensor(tensor, one);
    });
    return result;
  }

  Needed needed() const {
    Needed result;
    for (std::size_t i = 0; i < Rule::kInputs; ++i) result[i] = task_should_compute_output(i);
    return result;
  }

  static variable_list replay(const variable_list& grads, const std::vector<c10::IValue>& values) {
    torch::dynamo::autograd::PackedArgs packed(values);
    Saved of;
    for_each_member(of, [&]<class T>(T& value) { value = packed.unpack<T>(); });
    Needed needed;
    for (bool& one : needed) one = packed.unpack<bool>();
    if (!any_defined(grads)) return variable_list(Rule::kInputs);
    return Rule::gradients(grads, of, needed);
  }
};

inline at::Tensor tangent_of(const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0); }
inline at::Tensor primal_of(const at::Tensor& tensor) {
  return torch::autograd::isFwGradDefined(tensor) ? tensor._fw_primal(/*level=*/0) : tensor;
}

// What is computed from these will be differentiated, backward or forward.
template <class... Tensors>
bool is_differentiated(const Tensors&... tensors) {
  return torch::autograd::compute_requires_grad(tensors...) ||
         (torch::autograd::isFwGradDefined(tensors) || ...);
}

// Within torch.func's grad, jvp or vmap.
inline bool is_transformed() {
  const auto modes = c10::impl::tls_local_dispatch_key_set().included_;
  return modes.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         modes.has(c10::DispatchKey::FuncTorchDynamicLayerBackMode);
}

}  // namespace activations_ext
