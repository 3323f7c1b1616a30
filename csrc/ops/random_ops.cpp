// The operators that draw a number for each element, from a seed: schema, device, Meta, Autograd
// and functorch kernels. The seed is a tensor, so that torch's generator makes it inside of a graph
// too.
#include "random_ops.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "../activations/rrelu.h"
#include "../activations/shift_dropout.h"
#include "../autograd/batching.h"
#include "../autograd/in_place.h"
#include "../checks.h"
#include "../launch.h"
#include "../layout.h"
#include "../parameters.h"
#include "../registry.h"
#include "find_operator.h"

namespace activations_ext {

using at::Tensor;
using torch::autograd::isFwGradDefined;

Tensor& rrelu_with_seed_(Tensor& input, const Tensor& seed, double lower, double upper) {
  static const auto op = find_operator<decltype(rrelu_with_seed_)>("rrelu_with_seed_");
  return op.call(input, seed, lower, upper);
}
Tensor& shift_dropout_with_seed_(Tensor& input, const Tensor& seed, double p, double minimum) {
  static const auto op =
      find_operator<decltype(shift_dropout_with_seed_)>("shift_dropout_with_seed_");
  return op.call(input, seed, p, minimum);
}
Tensor rrelu_with_seed(const Tensor& input, const Tensor& seed, double lower, double upper) {
  static const auto op = find_operator<decltype(rrelu_with_seed)>("rrelu_with_seed");
  return op.call(input, seed, lower, upper);
}
Tensor shift_dropout_with_seed(const Tensor& input, const Tensor& seed, double p, double minimum) {
  static const auto op =
      find_operator<decltype(shift_dropout_with_seed)>("shift_dropout_with_seed");
  return op.call(input, seed, p, minimum);
}

namespace {

Tensor call_rrelu_backward(const Tensor& grad_output, const Tensor& saved, const Tensor& seed,
                           double lower, double upper) {
  static const auto op = find_operator<decltype(call_rrelu_backward)>("rrelu_with_seed_backward");
  return op.call(grad_output, saved, seed, lower, upper);
}

// --- devices and Meta ---------------------------------------------------------------------------

template <class A>
A checked(const Tensor& tensor, const Tensor& seed, double first, double second) {
  check_floating_point(A::kName, "input", tensor);
  check_seed(A::kName, seed);
  check_same_device(A::kName, "seed", seed, "input", tensor);
  return make<A>({first, second}, tensor.scalar_type());
}

template <class A>
Tensor run(const A& activation, const Tensor& a, const Tensor& gate, const Tensor& seed) {
  return launch_on(a).random(RandomActivations::index_of<A>(), &activation, a, gate, seed);
}

// The kernels below Autograd, where the in-place form is a copy of the result.
template <Tensor (*kCompute)(const Tensor&, const Tensor&, double, double)>
Tensor& overwrite(Tensor& input, const Tensor& seed, double first, double second) {
  return input.copy_(kCompute(input, seed, first, second));
}

Tensor kernel_rrelu(const Tensor& input, const Tensor& seed, double lower, double upper) {
  const RReLU activation = checked<RReLU>(input, seed, lower, upper);
  return run(activation, input, input, seed);
}
Tensor kernel_rrelu_backward(const Tensor& grad_output, const Tensor& saved, const Tensor& seed,
                             double lower, double upper) {
  const RReLU activation = checked<RReLU>(saved, seed, lower, upper);
  check_same("rrelu", grad_output, saved);
  return run(activation, grad_output, saved, seed);
}
Tensor kernel_shift_dropout(const Tensor& input, const Tensor& seed, double p, double minimum) {
  const ShiftDropout activation = checked<ShiftDropout>(input, seed, p, minimum);
  return run(activation, input, input, seed);
}

Tensor& meta_rrelu_(Tensor& input, const Tensor& seed, double lower, double upper) {
  checked<RReLU>(input, seed, lower, upper);
  return input;
}
Tensor& meta_shift_dropout_(Tensor& input, const Tensor& seed, double p, double minimum) {
  checked<ShiftDropout>(input, seed, p, minimum);
  return input;
}
Tensor meta_rrelu(const Tensor& input, const Tensor& seed, double lower, double upper) {
  checked<RReLU>(input, seed, lower, upper);
  return at::empty_like(input);
}
Tensor meta_rrelu_backward(const Tensor& grad_output, const Tensor& saved, const Tensor& seed,
                           double lower, double upper) {
  checked<RReLU>(saved, seed, lower, upper);
  check_same("rrelu", grad_output, saved);
  return at::empty_like(layout_of(grad_output, saved));
}
Tensor meta_shift_dropout(const Tensor& input, const Tensor& seed, double p, double minimum) {
  checked<ShiftDropout>(input, seed, p, minimum);
  return at::empty_like(input);
}

template <class A>
Tensor& no_in_place(Tensor& input, const Tensor&, double, double) {
  fail_no_kernel(A::kName, "input", input);
}
template <class A>
Tensor no_forward(const Tensor& input, const Tensor&, double, double) {
  fail_no_kernel(A::kName, "input", input);
}
Tensor no_rrelu_backward(const Tensor& grad_output, const Tensor&, const Tensor&, double, double) {
  fail_no_kernel("rrelu", "grad_output", grad_output);
}

// --- Autograd -----------------------------------------------------------------------------------

// Both maps are linear in what they are given, once the seed and the gate are fixed: the derivative
// of a gradient is the same map again.

struct SavedRReLU {
  Tensor saved, seed;
  double lower, upper;
  auto members() { return std::tie(saved, seed, lower, upper); }
};

struct RReLUBackward {
  using Saved = SavedRReLU;
  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "RreluBackward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    return {call_rrelu_backward(grads[0], of.saved, of.seed, of.lower, of.upper)};
  }
};

// Of rrelu_backward, with respect to grad_output and to what was saved.
struct RReLUDoubleBackward {
  using Saved = SavedRReLU;
  static constexpr std::size_t kInputs = 2;
  static std::string title() { return "RreluBackwardBackward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<2>& needed) {
    variable_list result(2);
    if (needed[0]) result[0] = call_rrelu_backward(grads[0], of.saved, of.seed, of.lower, of.upper);
    if (needed[1]) result[1] = at::zeros_like(grads[0]);
    return result;
  }
};

struct ShiftDropoutBackward {
  struct Saved {
    Tensor seed;
    double p;
    auto members() { return std::tie(seed, p); }
  };
  static constexpr std::size_t kInputs = 1;
  static std::string title() { return "ShiftDropoutBackward"; }

  static variable_list gradients(variable_list grads, const Saved& of, const Needed<1>&) {
    return {shift_dropout_with_seed(grads[0], of.seed, of.p, /*minimum=*/0.0)};
  }
};

const bool named = name_nodes<RReLUBackward, RReLUDoubleBackward, ShiftDropoutBackward>();

Tensor autograd_rrelu(const Tensor& input, const Tensor& seed, double lower, double upper) {
  const bool requires_grad = torch::autograd::compute_requires_grad(input);
  Tensor result = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return rrelu_with_seed(input, seed, lower, upper);
  }();
  if (requires_grad) {
    auto node = make_node<GraphNode<RReLUBackward>>();
    node->set_next_edges(torch::autograd::collect_next_edges(input));
    torch::autograd::set_history(result, node);
    node->remember({input, seed, lower, upper});
  }
  if (isFwGradDefined(input))
    result._set_fw_grad(
        call_rrelu_backward(tangent_of(input), primal_of(input), seed, lower, upper),
        /*level=*/0, /*is_inplace_op=*/false);
  return result;
}

Tensor& autograd_rrelu_(Tensor& input, const Tensor& seed, double lower, double upper) {
  const bool of_result = RReLU{lower, upper}.result_tells_slope();
  const auto compute = [&](Tensor& x) {
    at::AutoDispatchBelowAutograd below;
    rrelu_with_seed_(x, seed, lower, upper);
  };
  const auto save = [&](auto& node, const Tensor& original) {
    node.remember({of_result ? input : original, seed, lower, upper}, input);
  };
  const auto tangent = [&](const Tensor& of, const Tensor& saved) {
    return call_rrelu_backward(of, saved, seed, lower, upper);
  };
  return differentiable_in_place(input, !of_result, &make_node<GraphNode<RReLUBackward>>, compute,
                                 save, tangent);
}

Tensor autograd_rrelu_backward(const Tensor& grad_output, const Tensor& saved, const Tensor& seed,
                               double lower, double upper) {
  const bool requires_grad = torch::autograd::compute_requires_grad(grad_output, saved);
  Tensor result = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return call_rrelu_backward(grad_output, saved, seed, lower, upper);
  }();
  if (requires_grad) {
    auto node = make_node<GraphNode<RReLUDoubleBackward>>();
    node->set_next_edges(torch::autograd::collect_next_edges(grad_output, saved));
    torch::autograd::set_history(result, node);
    node->remember({saved, seed, lower, upper});
  }
  if (isFwGradDefined(grad_output) || isFwGradDefined(saved)) {
    const Tensor tangent =
        isFwGradDefined(grad_output)
            ? call_rrelu_backward(tangent_of(grad_output), primal_of(saved), seed, lower, upper)
            : at::zeros_like(result);
    result._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
  }
  return result;
}

Tensor autograd_shift_dropout(const Tensor& input, const Tensor& seed, double p, double minimum) {
  const bool requires_grad = torch::autograd::compute_requires_grad(input);
  Tensor result = [&] {
    at::AutoDispatchBelowADInplaceOrView below;
    return shift_dropout_with_seed(input, seed, p, minimum);
  }();
  if (requires_grad) {
    auto node = make_node<GraphNode<ShiftDropoutBackward>>();
    node->set_next_edges(torch::autograd::collect_next_edges(input));
    torch::autograd::set_history(result, node);
    node->remember({seed, p});
  }
  if (isFwGradDefined(input))
    result._set_fw_grad(shift_dropout_with_seed(tangent_of(input), seed, p, /*minimum=*/0.0),
                        /*level=*/0, /*is_inplace_op=*/false);
  return result;
}

Tensor& autograd_shift_dropout_(Tensor& input, const Tensor& seed, double p, double minimum) {
  const auto compute = [&](Tensor& x) {
    at::AutoDispatchBelowAutograd below;
    shift_dropout_with_seed_(x, seed, p, minimum);
  };
  const auto save = [&](auto& node, const Tensor&) { node.remember({seed, p}); };
  const auto tangent = [&](const Tensor& of, const Tensor&) {
    return shift_dropout_with_seed(of, seed, p, /*minimum=*/0.0);
  };
  return differentiable_in_place(input, /*keeps_input=*/false,
                                 &make_node<GraphNode<ShiftDropoutBackward>>, compute, save,
                                 tangent);
}

// The in-place forms below Autograd, of either operator.
template <Tensor& (*kInPlace)(Tensor&, const Tensor&, double, double)>
Tensor& versioned(Tensor& input, const Tensor& seed, double first, double second) {
  return count_version(input, [&](Tensor& x) { kInPlace(x, seed, first, second); });
}
template <Tensor (*kCompute)(const Tensor&, const Tensor&, double, double)>
Tensor& functional(Tensor& input, const Tensor& seed, double first, double second) {
  return functionalized(input, [&](const Tensor& x) {
    namespace impl = at::functionalization::impl;
    const Tensor s = impl::isFunctionalTensor(seed) ? impl::from_functional_tensor(seed) : seed;
    return kCompute(x, s, first, second);
  });
}

// --- functorch ----------------------------------------------------------------------------------

// One example after another: each has to get the numbers that it would get alone.
template <class Compute, class... Tensors>
Tensor one_by_one(Compute compute, const Tensors&... tensors) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const int64_t level = std::max({vmap_level(tensors)...});
  if (level == 0) return compute(tensors...);
  const Unbatched all[] = {Unbatched(tensors, level)...};
  int64_t size = 0;
  for (const Unbatched& tensor : all) {
    if (tensor.has_batch) size = tensor.value.size(0);
  }
  if (size == 0) {  // the shape of an example's result is that of the first tensor
    const Tensor& first = all[0].value;
    std::vector<int64_t> shape(first.sizes().begin() + all[0].has_batch, first.sizes().end());
    shape.insert(shape.begin(), 0);
    return at::functorch::makeBatched(first.new_empty(shape), 0, level);
  }
  std::vector<Tensor> results;
  for (int64_t example = 0; example < size; ++example) {
    const auto pick = [&](const Unbatched& tensor) {
      return tensor.has_batch ? tensor.value.select(0, example) : tensor.value;
    };
    results.push_back(std::apply([&](const auto&... tensor) { return compute(pick(tensor)...); },
                                 std::to_array(all)));
  }
  return at::functorch::makeBatched(at::stack(results), 0, level);
}

Tensor batched_rrelu(const Tensor& input, const Tensor& seed, double lower, double upper) {
  return one_by_one(
      [&](const Tensor& x, const Tensor& s) { return rrelu_with_seed(x, s, lower, upper); }, input,
      seed);
}
Tensor batched_rrelu_backward(const Tensor& grad_output, const Tensor& saved, const Tensor& seed,
                              double lower, double upper) {
  return one_by_one([&](const Tensor& g, const Tensor& x,
                        const Tensor& s) { return call_rrelu_backward(g, x, s, lower, upper); },
                    grad_output, saved, seed);
}
Tensor batched_shift_dropout(const Tensor& input, const Tensor& seed, double p, double minimum) {
  return one_by_one(
      [&](const Tensor& x, const Tensor& s) { return shift_dropout_with_seed(x, s, p, minimum); },
      input, seed);
}

// The seed may be batched where the input is not, which has no place for the results.
template <Tensor (*kCompute)(const Tensor&, const Tensor&, double, double)>
Tensor& batched_overwrite(Tensor& input, const Tensor& seed, double first, double second) {
  TORCH_CHECK(vmap_level(input) >= vmap_level(seed),
              "vmap: an in-place dropout of a tensor that is not batched would have to write "
              "several results into it");
  return input.copy_(kCompute(input, seed, first, second));
}

void implement(torch::Library& library) {
  library.impl("rrelu_with_seed_", &overwrite<kernel_rrelu>);
  library.impl("shift_dropout_with_seed_", &overwrite<kernel_shift_dropout>);
  library.impl("rrelu_with_seed", &kernel_rrelu);
  library.impl("rrelu_with_seed_backward", &kernel_rrelu_backward);
  library.impl("shift_dropout_with_seed", &kernel_shift_dropout);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  library.def("rrelu_with_seed(Tensor input, Tensor seed, float lower, float upper) -> Tensor",
              tags);
  library.def(
      "rrelu_with_seed_(Tensor(a!) input, Tensor seed, float lower, float upper) -> Tensor(a!)",
      tags);
  library.def(
      "shift_dropout_with_seed_(Tensor(a!) input, Tensor seed, float p, float minimum) -> "
      "Tensor(a!)",
      tags);
  library.def(
      "rrelu_with_seed_backward(Tensor grad_output, Tensor saved, Tensor seed, float lower, "
      "float upper) -> Tensor",
      tags);
  library.def(
      "shift_dropout_with_seed(Tensor input, Tensor seed, float p, float minimum) -> Tensor", tags);
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) { implement(library); }
TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) { implement(library); }

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  library.impl("rrelu_with_seed_", &meta_rrelu_);
  library.impl("shift_dropout_with_seed_", &meta_shift_dropout_);
  library.impl("rrelu_with_seed", &meta_rrelu);
  library.impl("rrelu_with_seed_backward", &meta_rrelu_backward);
  library.impl("shift_dropout_with_seed", &meta_shift_dropout);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  library.impl("rrelu_with_seed_", &no_in_place<RReLU>);
  library.impl("shift_dropout_with_seed_", &no_in_place<ShiftDropout>);
  library.impl("rrelu_with_seed", &no_forward<RReLU>);
  library.impl("rrelu_with_seed_backward", &no_rrelu_backward);
  library.impl("shift_dropout_with_seed", &no_forward<ShiftDropout>);
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  library.impl("rrelu_with_seed_", &autograd_rrelu_);
  library.impl("shift_dropout_with_seed_", &autograd_shift_dropout_);
  library.impl("rrelu_with_seed", &autograd_rrelu);
  library.impl("rrelu_with_seed_backward", &autograd_rrelu_backward);
  library.impl("shift_dropout_with_seed", &autograd_shift_dropout);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  library.impl("rrelu_with_seed_", &batched_overwrite<rrelu_with_seed>);
  library.impl("shift_dropout_with_seed_", &batched_overwrite<shift_dropout_with_seed>);
  library.impl("rrelu_with_seed", &batched_rrelu);
  library.impl("rrelu_with_seed_backward", &batched_rrelu_backward);
  library.impl("shift_dropout_with_seed", &batched_shift_dropout);
}

TORCH_LIBRARY_IMPL(activations_ext, ADInplaceOrView, library) {
  library.impl("rrelu_with_seed_", &versioned<rrelu_with_seed_>);
  library.impl("shift_dropout_with_seed_", &versioned<shift_dropout_with_seed_>);
}

TORCH_LIBRARY_IMPL(activations_ext, Functionalize, library) {
  library.impl("rrelu_with_seed_", &functional<rrelu_with_seed>);
  library.impl("shift_dropout_with_seed_", &functional<shift_dropout_with_seed>);
}

}  // namespace activations_ext
