// The operator mixture_nll and its gradient; see losses/mixture.h.
#include <ATen/OpMathType.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "mixture_formula.h"
#include "operator.h"

namespace activations_ext {
namespace {

using at::Tensor;

at::ScalarType compute_dtype(const MixtureArguments& of) {
  return at::toOpMathType(of.mean.scalar_type());
}

void check_scale_by(const char* name, int64_t scale_by) {
  TORCH_CHECK_VALUE(0 <= scale_by && scale_by < kScales, name,
                    "(): expected argument 'scale_by' to be from 0 to ", kScales - 1, ", but got ",
                    scale_by);
}

void check(const MixtureArguments& of) {
  const auto& [logits, mean, scale, target, scale_by, floor] = of;
  check_floating_point("mixture_nll", "mean", mean);
  TORCH_CHECK(mean.dim() == 3 && mean.sym_size(1) > 0 && mean.sym_size(2) > 0,
              "mixture_nll(): expected argument 'mean' to have the shape (N, components, "
              "dimensions), the last two not 0, but got ",
              mean.sym_sizes());
  check_scale_by("mixture_nll", scale_by);
  const Tensor& model = of.mean;
  const auto has = [&](const char* name, const Tensor& tensor, c10::SymIntArrayRef shape) {
    TORCH_CHECK(tensor.scalar_type() == model.scalar_type() && tensor.sym_sizes() == shape,
                "mixture_nll(): expected argument '", name, "' to have the shape ", shape,
                " and the dtype of 'mean', ", model.scalar_type(), ", but got ", tensor.sym_sizes(),
                " and ", tensor.scalar_type());
    check_same_device("mixture_nll", name, tensor, "mean", model);
  };
  const c10::SymIntArrayRef sizes = mean.sym_sizes();
  has("logits", logits, sizes.slice(0, 2));
  has("scale", scale, sizes);
  has("target", target, c10::SymDimVector{sizes[0], sizes[2]});
}

MixtureTensors checked(const MixtureArguments& of) {
  check(of);
  return {of.logits, of.mean, of.scale, of.target, ScaleBy(of.scale_by), of.floor};
}

struct MixtureNLLBackward {
  static constexpr const char* kSchema =
      "mixture_nll_backward(Tensor grad_nll, Tensor logits, Tensor mean, Tensor scale, "
      "Tensor target, int scale_by, float floor) -> (Tensor logits, Tensor mean, Tensor scale)";
  struct Arguments {
    Tensor grad_nll;
    MixtureArguments of;
    auto members() { return std::tuple_cat(std::tie(grad_nll), of.members()); }
  };

  static void check_gradient(const Tensor& grad_nll, const MixtureArguments& of) {
    const Tensor& mean = of.mean;
    TORCH_CHECK(grad_nll.dim() == 1 && grad_nll.sym_size(0) == mean.sym_size(0) &&
                    grad_nll.scalar_type() == compute_dtype(of),
                "mixture_nll_backward(): expected argument 'grad_nll' to have ", mean.sym_size(0),
                " numbers of ", compute_dtype(of), ", but got shape ", grad_nll.sym_sizes(), " of ",
                grad_nll.scalar_type());
    check_same_device("mixture_nll_backward", "grad_nll", grad_nll, "mean", mean);
  }
  static MixtureGradients kernel(const Arguments& arguments) {
    const auto& [grad_nll, of] = arguments;
    const MixtureTensors tensors = checked(of);
    check_gradient(grad_nll, of);
    const auto gradient = launch_on(of.mean).mixture_backward(grad_nll, tensors);
    return {gradient.logits, gradient.mean, gradient.scale};
  }
  static MixtureGradients shape(const Arguments& arguments) {
    const auto& [grad_nll, of] = arguments;
    check(of);
    check_gradient(grad_nll, of);
    const auto contiguous = at::MemoryFormat::Contiguous;
    return {at::empty_like(of.logits, contiguous), at::empty_like(of.mean, contiguous),
            at::empty_like(of.scale, contiguous)};
  }
  static MixtureGradients formula(const Arguments& arguments) {
    return mixture_backward_formula(arguments.grad_nll, arguments.of);
  }
};

struct MixtureNLL {
  static constexpr const char* kSchema =
      "mixture_nll(Tensor logits, Tensor mean, Tensor scale, Tensor target, int scale_by, "
      "float floor) -> Tensor";
  using Arguments = MixtureArguments;

  static Tensor kernel(const Arguments& of) {
    const MixtureTensors tensors = checked(of);
    return launch_on(of.mean).mixture_nll(tensors);
  }
  static Tensor shape(const Arguments& of) {
    check(of);
    return at::empty_symint({of.mean.sym_size(0)}, of.mean.options().dtype(compute_dtype(of)));
  }
  static Tensor formula(const Arguments& of) { return mixture_formula(of); }

  static std::string title() { return "GaussianMixtureNllLossBackward"; }
  static variable_list gradients(variable_list grads, const Arguments& of,
                                 const Needed<4>& needed) {
    const auto [logits, mean, scale] = call<MixtureNLLBackward>({grads[0], of});
    Tensor target;
    if (needed[3]) {
      // Moving the target is the same as moving all means the other way.
      target =
          -at::sum(mean, {1}, /*keepdim=*/false, compute_dtype(of)).to(of.target.scalar_type());
    }
    return {logits, mean, scale, target};
  }
};

const Operators<MixtureNLL, MixtureNLLBackward> registered;

TORCH_LIBRARY_FRAGMENT(activations_ext, library) {
  library.def("mixture_scale(Tensor scale, int scale_by, float floor) -> Tensor",
              [](const Tensor& scale, int64_t scale_by, double floor) {
                check_floating_point("mixture_scale", "scale", scale);
                check_scale_by("mixture_scale", scale_by);
                return mixture_scale(scale, scale_by, floor);
              });
}

}  // namespace
}  // namespace activations_ext
