// What the graph nodes of all operators share.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <array>
#include <cctype>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "../layout.h"
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

// The types of this library's nodes and what Python is to call them; see python.cpp.
using NodeNames = std::vector<std::pair<const std::type_info*, std::string>>;
inline NodeNames& node_names() {
  static NodeNames names;
  return names;
}
template <class... Nodes>
bool name_nodes() {
  (node_names().emplace_back(&typeid(Nodes), Nodes::title()), ...);
  return true;
}
template <class Function>
bool name_function(const char* title) {
  node_names().emplace_back(&typeid(torch::autograd::CppNode<Function>), title);
  return true;
}

// What Python hands to a node: torch's operators, too, would read memory that was freed.
inline void check_readable(const at::Tensor& tensor) {
  if (tensor.defined() && is_plain_memory(tensor)) check_storage(tensor);
}

// A node with float parameters and saved tensors, which are released after use. N says what it
// computes, of nothing but its arguments, so that compiled autograd can record the call:
//   static variable_list gradients(at::Tensor grad_output, const Arguments& arguments);
// and what it is called:
//   static std::string title();
template <class N, std::size_t kParameters, std::size_t kSaved, std::size_t kInputs>
struct SavingNode : torch::autograd::Node {
  struct Arguments {
    std::array<at::Tensor, kSaved> saved;
    std::array<double, kParameters> parameters;
    bool of_result;                    // saved[0] is the result, else the input
    std::array<bool, kInputs> needed;  // whose gradients are asked for
  };

  std::array<double, kParameters> parameters;
  std::array<SavedVariable, kSaved> saved;
  bool of_result = false;
  bool saved_is_output = false;  // saved[0] is this node's own output

  std::string name() const override { return N::title(); }

  variable_list apply(variable_list&& grads) override {
    std::lock_guard<std::mutex> lock(mutex_);
    at::Tensor grad_output = std::move(grads[0]);
    if (!grad_output.defined()) return variable_list(kInputs);
    check_shape(grad_output);
    return N::gradients(std::move(grad_output), arguments());
  }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (SavedVariable& variable : saved) variable.reset_data();
  }

  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    for (const SavedVariable& variable : saved)
      args.collect(variable, &variable == saved.data() && saved_is_output);
    for (const double parameter : parameters) args.collect(parameter);
    args.collect(of_result);
  }

  // While compiled autograd traces, tensors stand for others and have no shapes: the call is only
  // written down, and happens in `replay`.
  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using namespace torch::dynamo::autograd;
    for (SavedVariable& variable : saved) swap.before(variable);
    const Arguments recorded = arguments();
    PackedArgs packed;
    for (const at::Tensor& tensor : recorded.saved) packed.pack(tensor);
    for (const double parameter : recorded.parameters) packed.pack(parameter);
    packed.pack(recorded.of_result);
    for (const bool needed : recorded.needed) packed.pack(needed);

    const auto& compiler = getPyCompilerInterface();
    static const std::string bound_name = [&] {
      std::vector<at::TypePtr> types;
      for (const c10::IValue& value : packed.vec())
        types.push_back(value.isTensor() ? at::TensorType::get() : value.type());
      return compiler->bind_function(swap.get_py_compiler(), N::title(), &replay, types,
                                     /*is_custom_function=*/true, /*is_traceable=*/true);
    }();
    const c10::IValue metadata =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            get_input_metadata(next_edges()));
    variable_list result = compiler->call_function(swap.get_py_compiler(), "apply_functional",
                                                   bound_name, grads, packed.vec(), metadata);
    for (SavedVariable& variable : saved) swap.after(variable);
    return result;
  }

 private:
  // The engine has seen to it, but Python may call `grad_fn` itself.
  void check_shape(const at::Tensor& grad_output) const {
    const auto& expected = input_metadata(0);
    TORCH_CHECK(expected.is_same_shape(grad_output), name(),
                "(): expected argument 'grad_output' to have the shape of the result, ",
                expected.shape_as_dim_vector(), ", but got ", grad_output.sym_sizes());
    check_readable(grad_output);
  }

  Arguments arguments() {
    Arguments result{{}, parameters, of_result, {}};
    for (std::size_t i = 0; i < kSaved; ++i) {
      result.saved[i] = saved[i].unpack(getptr());
      check_readable(result.saved[i]);
    }
    for (std::size_t i = 0; i < kInputs; ++i) result.needed[i] = task_should_compute_output(i);
    return result;
  }

  static variable_list replay(const variable_list& grads, const std::vector<c10::IValue>& values) {
    torch::dynamo::autograd::PackedArgs packed(values);
    Arguments arguments;
    for (at::Tensor& tensor : arguments.saved) tensor = packed.unpack<at::Tensor>();
    for (double& parameter : arguments.parameters) parameter = packed.unpack<double>();
    arguments.of_result = packed.unpack<bool>();
    for (bool& needed : arguments.needed) needed = packed.unpack<bool>();
    if (!grads[0].defined()) return variable_list(kInputs);
    return N::gradients(grads[0], arguments);
  }
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

// An argument that may be missing, as the schema has it and as a saved variable.
using MaybeTensor = std::optional<at::Tensor>;
inline at::Tensor or_undefined(const MaybeTensor& tensor) { return tensor.value_or(at::Tensor()); }
inline MaybeTensor or_none(const at::Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

// Within torch.func's grad, jvp or vmap, which differentiate torch's operators only.
inline bool is_transformed() {
  const auto modes = c10::impl::tls_local_dispatch_key_set().included_;
  return modes.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         modes.has(c10::DispatchKey::FuncTorchDynamicLayerBackMode);
}

}  // namespace activations_ext
