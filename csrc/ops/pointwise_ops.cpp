// Schemas and the device, Meta and autocast kernels of the pointwise operators, by loops over the
// list.
#include "pointwise_ops.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <string>

#include "../checks.h"
#include "../launch.h"
#include "../layout.h"

namespace activations_ext {
namespace {

// Without defaults of parameters: torch reads a fraction by the C locale, and a decimal comma would
// turn 0.01 into 0.
template <class A>
std::string schema(const char* suffix, const char* tensors, const char* last, const char* result) {
  std::string text = std::string(A::kName) + suffix + "(" + tensors;
  for (const Parameter& parameter : A::kParameters)
    text += std::string(", float ") + parameter.name;
  return text + last + ") -> " + result;
}

template <class A>
A checked(const char* argument, const at::Tensor& tensor, const Parameters<A>& parameters) {
  check_floating_point(A::kName, argument, tensor);
  return make<A>(parameters, tensor.scalar_type());
}

// Of an operator that reads what was saved.
template <class A>
A checked(const at::Tensor& grad_output, const at::Tensor& saved, const Parameters<A>& parameters,
          bool of_result) {
  const A activation = checked<A>("saved", saved, parameters);
  check_same(A::kName, grad_output, saved);
  TORCH_CHECK(of_result ? kFromResult<A> : kFromInput<A>, A::kName,
              "(): expected argument 'of_result' to be ", !of_result ? "True" : "False",
              ", as backward has no formula of the ", of_result ? "result" : "input");
  return activation;
}

struct Forward {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>& parameters) {
    const A activation = checked<A>("input", input, parameters);
    return launch_on(input).pointwise(forward_of(activation), input, {});
  }
};

struct InPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    const A activation = checked<A>("input", input, parameters);
    launch_on(input).pointwise_in_place(forward_of(activation), input);
    return input;
  }
};

struct Backward {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters, bool of_result) {
    const A activation = checked<A>(grad_output, saved, parameters, of_result);
    return launch_on(saved).pointwise(backward_of(activation, of_result), grad_output, saved);
  }
};

struct Curvature {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters, bool of_result) {
    const A activation = checked<A>(grad_output, saved, parameters, of_result);
    if constexpr (!kCurved<A>) return at::zeros_like(grad_output);
    return launch_on(saved).pointwise(curvature_of(activation, of_result), grad_output, saved);
  }
};

// Shapes and strides only, symbolic ones too.
struct MetaForward {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>& parameters) {
    checked<A>("input", input, parameters);
    return at::empty_like(input);
  }
};

struct MetaInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>& parameters) {
    checked<A>("input", input, parameters);
    return input;
  }
};

struct MetaBackward {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters, bool of_result) {
    checked<A>(grad_output, saved, parameters, of_result);
    return at::empty_like(layout_of(grad_output, saved));
  }
};

// What torch's autocast computes in float32 on CUDA.
struct InFloat {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>& parameters) {
    c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::AutocastCUDA);
    return Operator<A>::forward(at::autocast::cached_cast(at::kFloat, input, at::kCUDA),
                                parameters);
  }
};

// Every backend without kernels of its own.
struct NoKernel {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>&) {
    fail_no_kernel(A::kName, "input", input);
  }
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor&, const Parameters<A>&,
                         bool) {
    fail_no_kernel(A::kName, "grad_output", grad_output);
  }
};

struct NoInPlace {
  template <class A>
  static at::Tensor& call(at::Tensor& input, const Parameters<A>&) {
    fail_no_kernel(A::kName, "input", input);
  }
};

}  // namespace

TORCH_LIBRARY(activations_ext, library) {
  Activations::for_each([&]<Activation A>() {
    const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
    const auto define = [&](auto... parts) {
      library.def(torch::schema(schema<A>(parts...).c_str()), tags);
    };
    const char* saved = "Tensor grad_output, Tensor saved";
    const char* last = kFromInput<A> ? ", bool of_result=False" : ", bool of_result=True";
    define("", "Tensor input", "", "Tensor");
    define("_", "Tensor(a!) input", "", "Tensor(a!)");
    define("_backward", saved, last, "Tensor");
    define("_curvature", saved, last, "Tensor");
  });
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  implement_all<Forward, InPlace, Backward, Curvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, CUDA, library) {
  implement_all<Forward, InPlace, Backward, Curvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, AutocastCUDA, library) {
  library.impl(Exp::kName, &detail::Signature<Exp>::unary<InFloat>);
  library.impl(Softplus::kName, &detail::Signature<Softplus>::unary<InFloat>);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  implement_all<MetaForward, MetaInPlace, MetaBackward, MetaBackward>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  implement_all<NoKernel, NoInPlace, NoKernel, NoKernel>(library);
}

}  // namespace activations_ext
