// The Autograd and functorch kernels of the pointwise operators.
#include "pointwise.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "../autograd/batching.h"
#include "../autograd/formula.h"
#include "../autograd/in_place.h"
#include "pointwise_nodes.h"
#include "pointwise_ops.h"

namespace activations_ext {
namespace {

using torch::autograd::isFwGradDefined;

// --- through the graph: saves, history and forward-mode tangents --------------------------------

// `compute(input)` makes the result below Autograd, `finish(result)` adds a forward-mode tangent,
// which a saved result has to carry. The input is saved wherever its slope has a formula, as torch
// does: a result may be overwritten, and its rounding is an error of the slope.
template <class Compute, class Finish>
at::Tensor through_graph(const Kind& kind, const at::Tensor& input, const Values& values,
                         Compute compute, Finish finish) {
  if (!torch::autograd::compute_requires_grad(input)) {
    at::Tensor result = compute(input);
    finish(result);
    return result;
  }
  auto node = make_backward_node(kind);
  node->set_next_edges(torch::autograd::collect_next_edges(input));
  at::Tensor result = compute(input);
  torch::autograd::set_history(result, node);
  finish(result);
  const bool of_result = !kind.from_input;
  node->remember({{kind.index, values}, of_result ? result : input, of_result}, result);
  return result;
}

// The same in place.
template <class Compute>
at::Tensor& through_graph_in_place(const Kind& kind, at::Tensor& input, const Values& values,
                                   Compute compute) {
  const bool of_result = kind.make(values, input.scalar_type()).saves_result_in_place;
  const auto make = [&] {
    auto node = make_backward_node(kind);
    node->set_next_edges(torch::autograd::collect_next_edges(input));
    return node;
  };
  const auto save = [&](auto& node, const at::Tensor& original) {
    node.remember({{kind.index, values}, of_result ? input : original, of_result}, input);
  };
  const auto tangent = [&](const at::Tensor& of, const at::Tensor& saved) {
    return call_backward(kind, of, saved, values, of_result);
  };
  return differentiable_in_place(input, /*keeps_input=*/!of_result, make, compute, save, tangent);
}

// --- the kernels --------------------------------------------------------------------------------

struct AutogradForward {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values& values) {
    const auto compute = [&](const at::Tensor& x) {
      at::AutoDispatchBelowADInplaceOrView below;
      return call_forward(kind, x, values);
    };
    const auto set_tangent = [&](const at::Tensor& result) {
      if (!isFwGradDefined(input)) return;
      const bool of_result = !kind.from_input;
      const at::Tensor saved = of_result ? result : primal_of(input);
      result._set_fw_grad(call_backward(kind, tangent_of(input), saved, values, of_result),
                          /*level=*/0, /*is_inplace_op=*/false);
    };
    return through_graph(kind, input, values, compute, set_tangent);
  }
};

struct AutogradInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    return through_graph_in_place(kind, input, values, [&](at::Tensor& x) {
      at::AutoDispatchBelowAutograd below;
      call_in_place(kind, x, values);
    });
  }
};

struct VersionedInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    return count_version(input, [&](at::Tensor& x) { call_in_place(kind, x, values); });
  }
};

struct BatchedForward {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values& values) {
    return batched(input, [&](const at::Tensor& x) { return call_forward(kind, x, values); });
  }
};

struct BatchedBackward {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    return batched(grad_output, saved, [&](const at::Tensor& g, const at::Tensor& s) {
      return call_backward(kind, g, s, values, of_result);
    });
  }
};

struct BatchedCurvature {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    return batched(grad_output, saved, [&](const at::Tensor& g, const at::Tensor& s) {
      return call_curvature(kind, g, s, values, of_result);
    });
  }
};

struct BatchedInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    return batched_in_place(input, [&](at::Tensor& x) { call_in_place(kind, x, values); });
  }
};

struct FunctionalInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    return functionalized(input,
                          [&](const at::Tensor& x) { return call_forward(kind, x, values); });
  }
};

struct AutogradBackward {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    const bool requires_grad = torch::autograd::compute_requires_grad(grad_output, saved);
    at::Tensor result = [&] {
      at::AutoDispatchBelowADInplaceOrView below;
      return call_backward(kind, grad_output, saved, values, of_result);
    }();
    if (requires_grad) {
      auto node = make_double_backward_node(kind);
      node->set_next_edges(torch::autograd::collect_next_edges(grad_output, saved));
      torch::autograd::set_history(result, node);
      const bool bends = kind.is_curved() && saved.requires_grad();
      node->remember({{kind.index, values}, saved, bends ? grad_output : at::Tensor(), of_result});
    }
    if (isFwGradDefined(grad_output) || isFwGradDefined(saved)) {
      const at::Tensor grad_primal = primal_of(grad_output), saved_primal = primal_of(saved);
      at::Tensor tangent;
      if (isFwGradDefined(grad_output))
        tangent = call_backward(kind, tangent_of(grad_output), saved_primal, values, of_result);
      if (kind.is_curved() && isFwGradDefined(saved)) {
        const at::Tensor bent =
            call_curvature(kind, grad_primal * tangent_of(saved), saved_primal, values, of_result);
        tangent = tangent.defined() ? tangent + bent : bent;
      }
      if (!tangent.defined()) tangent = at::zeros_like(result);
      result._set_fw_grad(tangent, /*level=*/0, /*is_inplace_op=*/false);
    }
    return result;
  }
};

// Fast where nothing is differentiated, which a second derivative is; a third one and beyond come
// from the formula on torch's operators.
struct AutogradCurvature {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    if (!is_differentiated(grad_output, saved)) {
      at::AutoDispatchBelowADInplaceOrView below;
      return call_curvature(kind, grad_output, saved, values, of_result);
    }
    return curvature_formula(kind, grad_output, saved, values, of_result);
  }
};

// Autograd has to follow a write into a view to the tensor that it is a view of.
bool view_with_history(const at::Tensor& input) {
  return at::GradMode::is_enabled() && input.is_view() &&
         (input.requires_grad() || input._base().requires_grad());
}

bool goes_to_the_dispatcher(const at::Tensor& input) {
  return !nothing_intercepts() || !is_plain(input) || isFwGradDefined(input);
}

}  // namespace

at::Tensor pointwise(const Kind& kind, const at::Tensor& input, const Values& values) {
  if (goes_to_the_dispatcher(input)) return call_forward(kind, input, values);
  const AnyActivation activation = kind.make(values, input.scalar_type());
  const auto compute = [&](const at::Tensor& x) {
    return launch_on(x).pointwise(activation.forward(), x, {});
  };
  return through_graph(kind, input, values, compute, [](const at::Tensor&) {});
}

void pointwise_(const Kind& kind, at::Tensor& input, const Values& values) {
  if (goes_to_the_dispatcher(input) || view_with_history(input)) {
    call_in_place(kind, input, values);
    return;
  }
  const AnyActivation activation = kind.make(values, input.scalar_type());
  through_graph_in_place(kind, input, values, [&](at::Tensor& x) {
    launch_on(x).pointwise_in_place(activation.forward(), x);
    torch::autograd::increment_version(x);
  });
}

TORCH_LIBRARY_IMPL(activations_ext, Autograd, library) {
  implement_all<AutogradForward, AutogradInPlace, AutogradBackward, AutogradCurvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, FuncTorchBatched, library) {
  implement_all<BatchedForward, BatchedInPlace, BatchedBackward, BatchedCurvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, ADInplaceOrView, library) {
  implement_in_place<VersionedInPlace>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, Functionalize, library) {
  implement_in_place<FunctionalInPlace>(library);
}

}  // namespace activations_ext
