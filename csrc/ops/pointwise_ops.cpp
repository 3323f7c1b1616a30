// Schemas and the device, Meta and autocast kernels of the pointwise operators, by loops over the
// list.
#include "pointwise_ops.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <string>
#include <vector>

#include "../device/checks.h"
#include "../device/launchers.h"
#include "../device/layout.h"
#include "find_operator.h"

namespace activations_ext {
namespace {

// The schemas have no default values: torch parses fractions by the C locale, and a decimal comma
// would turn 0.01 into 0.
std::string schema(const Kind& kind, const char* suffix, const char* tensors, const char* last,
                   const char* result) {
  std::string text = std::string(kind.name) + suffix + "(" + tensors;
  for (const Parameter& parameter : kind.parameters)
    text += std::string(", float ") + parameter.name;
  return text + last + ") -> " + result;
}

AnyActivation checked(const Kind& kind, const char* argument, const at::Tensor& tensor,
                      const Values& values) {
  check_floating_point(kind.name, argument, tensor);
  return kind.make(values, tensor.scalar_type());
}

// Of an operator that reads what was saved.
AnyActivation checked(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                      const Values& values, bool of_result) {
  const AnyActivation activation = checked(kind, "saved", saved, values);
  check_same(kind.name, grad_output, saved);
  TORCH_CHECK(of_result ? kind.from_result : kind.from_input, kind.name,
              "(): expected argument 'of_result' to be ", !of_result ? "True" : "False",
              ", as backward has no formula of the ", of_result ? "result" : "input");
  return activation;
}

struct Forward {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values& values) {
    const AnyActivation activation = checked(kind, "input", input, values);
    return launch_on(input).pointwise(activation.forward(), input, {});
  }
};

struct InPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    const AnyActivation activation = checked(kind, "input", input, values);
    launch_on(input).pointwise_in_place(activation.forward(), input);
    return input;
  }
};

struct Backward {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    const AnyActivation activation = checked(kind, grad_output, saved, values, of_result);
    return launch_on(saved).pointwise(activation.backward(of_result), grad_output, saved);
  }
};

struct Curvature {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    const AnyActivation activation = checked(kind, grad_output, saved, values, of_result);
    if (!kind.is_curved()) return at::zeros_like(grad_output);
    return launch_on(saved).pointwise(activation.curvature(of_result), grad_output, saved);
  }
};

// Shapes and strides only, symbolic ones too.
struct MetaForward {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values& values) {
    checked(kind, "input", input, values);
    return at::empty_like(input);
  }
};

struct MetaInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values& values) {
    checked(kind, "input", input, values);
    return input;
  }
};

struct MetaBackward {
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
    checked(kind, grad_output, saved, values, of_result);
    return at::empty_like(layout_of(grad_output, saved));
  }
};

// What torch's autocast computes in float32 on CUDA.
struct InFloat {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values& values) {
    c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::AutocastCUDA);
    return call_forward(kind, at::autocast::cached_cast(at::kFloat, input, at::kCUDA), values);
  }
};

// Every backend without kernels.
struct NoKernel {
  static at::Tensor call(const Kind& kind, const at::Tensor& input, const Values&) {
    fail_no_kernel(kind.name, "input", input);
  }
  static at::Tensor call(const Kind& kind, const at::Tensor& grad_output, const at::Tensor&,
                         const Values&, bool) {
    fail_no_kernel(kind.name, "grad_output", grad_output);
  }
};

struct NoInPlace {
  static at::Tensor& call(const Kind& kind, at::Tensor& input, const Values&) {
    fail_no_kernel(kind.name, "input", input);
  }
};

template <std::size_t... I>
using Unary = at::Tensor(const at::Tensor&, detail::Real<I>...);
template <std::size_t... I>
using Unary_ = at::Tensor&(at::Tensor&, detail::Real<I>...);
template <std::size_t... I>
using Binary = at::Tensor(const at::Tensor&, const at::Tensor&, detail::Real<I>..., bool);

// Of the operators `name` + `suffix`.
class Handles {
 public:
  explicit Handles(const char* suffix) {
    for (const Kind& kind : kinds()) all_.push_back(find_operator(std::string(kind.name) + suffix));
  }
  const c10::OperatorHandle& of(const Kind& kind) const { return all_[kind.index]; }

 private:
  std::vector<c10::OperatorHandle> all_;
};

at::Tensor call_binary(const c10::OperatorHandle& op, const Kind& kind,
                       const at::Tensor& grad_output, const at::Tensor& saved, const Values& values,
                       bool of_result) {
  return detail::with_arity(kind, [&]<std::size_t... I>(std::index_sequence<I...>) {
    return op.typed<Binary<I...>>().call(grad_output, saved, values[I]..., of_result);
  });
}

}  // namespace

at::Tensor call_forward(const Kind& kind, const at::Tensor& input, const Values& values) {
  static const Handles handles("");
  return detail::with_arity(kind, [&]<std::size_t... I>(std::index_sequence<I...>) {
    return handles.of(kind).typed<Unary<I...>>().call(input, values[I]...);
  });
}
at::Tensor& call_in_place(const Kind& kind, at::Tensor& input, const Values& values) {
  static const Handles handles("_");
  detail::with_arity(kind, [&]<std::size_t... I>(std::index_sequence<I...>) {
    handles.of(kind).typed<Unary_<I...>>().call(input, values[I]...);
  });
  return input;
}
at::Tensor call_backward(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                         const Values& values, bool of_result) {
  static const Handles handles("_backward");
  return call_binary(handles.of(kind), kind, grad_output, saved, values, of_result);
}
at::Tensor call_curvature(const Kind& kind, const at::Tensor& grad_output, const at::Tensor& saved,
                          const Values& values, bool of_result) {
  static const Handles handles("_curvature");
  return call_binary(handles.of(kind), kind, grad_output, saved, values, of_result);
}

TORCH_LIBRARY(activations_ext, library) {
  for (const Kind& kind : kinds()) {
    const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
    const auto define = [&](auto... parts) {
      library.def(torch::schema(schema(kind, parts...).c_str()), tags);
    };
    const char* saved = "Tensor grad_output, Tensor saved";
    const char* last = kind.from_input ? ", bool of_result=False" : ", bool of_result=True";
    define("", "Tensor input", "", "Tensor");
    define("_", "Tensor(a!) input", "", "Tensor(a!)");
    define("_backward", saved, last, "Tensor");
    define("_curvature", saved, last, "Tensor");
  }
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  implement_all<Forward, InPlace, Backward, Curvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  implement_all<Forward, InPlace, Backward, Curvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, AutocastCUDA, library) {
  implement_forward<InFloat>(library, kind_of<Exp>());
  implement_forward<InFloat>(library, kind_of<Softplus>());
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  implement_all<MetaForward, MetaInPlace, MetaBackward, MetaBackward>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  implement_all<NoKernel, NoInPlace, NoKernel, NoKernel>(library);
}

}  // namespace activations_ext
