// The Autograd and functorch kernels of the pointwise operators.
#include "pointwise.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/broadcast_tensors.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/library.h>

#include "batching.h"
#include "symbolic.h"

namespace activations_ext {
namespace {

using torch::autograd::isFwGradDefined;

const bool named = [] {
  Activations::for_each(
      []<Activation A>() { name_nodes<BackwardNode<A>, DoubleBackwardNode<A>>(); });
  return true;
}();

struct AutogradForward {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>& parameters) {
    const auto compute = [&](const at::Tensor& x) {
      at::AutoDispatchBelowADInplaceOrView below;
      return Operator<A>::forward(x, parameters);
    };
    const auto set_tangent = [&](const at::Tensor& result) {
      if (!isFwGradDefined(input)) return;
      constexpr bool kOfResult = !kFromInput<A>;
      const at::Tensor saved = kOfResult ? result : primal_of(input);
      result._set_fw_grad(Operator<A>::backward(tangent_of(input), saved, parameters, kOfResult),
                          /*level=*/0, /*is_inplace_op=*/false);
    };
    return differentiable<A>(input, parameters, compute, set_tangent);
  }
};

struct AutogradInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    return differentiable_in_place<A>(input, parameters, [&](at::Tensor& x) {
      at::AutoDispatchBelowAutograd below;
      Operator<A>::in_place(x, parameters);
    });
  }
};

struct VersionedInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    return count_version(input, [&](at::Tensor& x) { Operator<A>::in_place(x, parameters); });
  }
};

struct BatchedInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    return batched_in_place(input, [&](at::Tensor& x) { Operator<A>::in_place(x, parameters); });
  }
};

struct FunctionalInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    return functionalized(input,
                          [&](const at::Tensor& x) { return Operator<A>::forward(x, parameters); });
  }
};

struct AutogradBackward {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters, bool of_result) {
    const bool requires_grad = torch::autograd::compute_requires_grad(grad_output, saved);
    at::Tensor result = [&] {
      at::AutoDispatchBelowADInplaceOrView below;
      return Operator<A>::backward(grad_output, saved, parameters, of_result);
    }();
    if (requires_grad) {
      auto node = make_node<DoubleBackwardNode<A>>();
      node->set_next_edges(torch::autograd::collect_next_edges(grad_output, saved));
      node->parameters = parameters;
      node->of_result = of_result;
      node->saved[0] = SavedVariable(saved, /*is_output=*/false);
      if (kCurved<A> && saved.requires_grad())
        node->saved[1] = SavedVariable(grad_output, /*is_output=*/false);
      torch::autograd::set_history(result, node);
    }
    if (isFwGradDefined(grad_output) || isFwGradDefined(saved)) {
      const at::Tensor grad_primal = primal_of(grad_output), saved_primal = primal_of(saved);
      at::Tensor tangent;
      if (isFwGradDefined(grad_output))
        tangent =
            Operator<A>::backward(tangent_of(grad_output), saved_primal, parameters, of_result);
      if (kCurved<A> && isFwGradDefined(saved)) {
        const at::Tensor bent = Operator<A>::curvature(grad_primal * tangent_of(saved),
                                                       saved_primal, parameters, of_result);
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
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters, bool of_result) {
    if (!is_differentiated(grad_output, saved)) {
      at::AutoDispatchBelowADInplaceOrView below;
      return Operator<A>::curvature(grad_output, saved, parameters, of_result);
    }
    if constexpr (!kCurved<A>) {
      return at::zeros_like(grad_output);
    } else {
      const A activation = make<A>(parameters, saved.scalar_type());
      const auto curvature = [&](const Symbolic& s) -> Symbolic {
        if constexpr (kFromResult<A>) {
          if (of_result) return activation.curvature_of_result(s);
        }
        if constexpr (kFromInput<A>) return activation.curvature(s);
        TORCH_INTERNAL_ASSERT(false);
      };
      return (Symbolic(grad_output) * curvature(saved)).tensor;
    }
  }
};

}  // namespace

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
