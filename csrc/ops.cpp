// Schemas and the CPU and Meta kernels of the pointwise operators, by loops over the list.
#include "ops.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <sstream>

#include "checks.h"
#include "cpu/launch.h"

namespace activations_ext {
namespace {

template <class A>
std::string schema(const char* suffix, const char* tensors) {
  std::ostringstream text;
  text.precision(17);
  text << A::kName << suffix << '(' << tensors;
  for (const Parameter& parameter : A::kParameters) {
    text << ", float " << parameter.name;
    if (parameter.default_value == parameter.default_value) text << '=' << parameter.default_value;
  }
  text << ") -> Tensor";
  return text.str();
}

template <class A>
A checked(const char* argument, const at::Tensor& tensor, const Parameters<A>& parameters) {
  const A activation = make<A>(parameters);
  check_floating_point(A::kName, argument, tensor);
  check_parameters(activation);
  return activation;
}

struct CpuForward {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>& parameters) {
    const A activation = checked<A>("input", input, parameters);
    return cpu::run(cpu::describe(activation, cpu::Pass::kForward), input, {});
  }
};

struct CpuBackward {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters) {
    const A activation = checked<A>("saved", saved, parameters);
    check_same(A::kName, grad_output, saved);
    return cpu::run(cpu::describe(activation, cpu::Pass::kBackward), grad_output, saved);
  }
};

struct CpuCurvature {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters) {
    const A activation = checked<A>("saved", saved, parameters);
    check_same(A::kName, grad_output, saved);
    if constexpr (!kCurved<A>) return at::zeros_like(grad_output);
    return cpu::run(cpu::describe(activation, cpu::Pass::kCurvature), grad_output, saved);
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

struct MetaBackward {
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor& saved,
                         const Parameters<A>& parameters) {
    checked<A>("saved", saved, parameters);
    check_same(A::kName, grad_output, saved);
    return at::empty_like(cpu::layout_of(grad_output, saved));
  }
};

// Every backend without kernels of its own.
struct NoKernel {
  template <class A>
  static at::Tensor call(const at::Tensor& input, const Parameters<A>&) {
    fail_no_kernel(A::kName, "input", input);
  }
  template <class A>
  static at::Tensor call(const at::Tensor& grad_output, const at::Tensor&, const Parameters<A>&) {
    fail_no_kernel(A::kName, "grad_output", grad_output);
  }
};

}  // namespace

TORCH_LIBRARY(activations_ext, library) {
  Activations::for_each([&]<Activation A>() {
    const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
    const char* binary = "Tensor grad_output, Tensor saved";
    library.def(torch::schema(schema<A>("", "Tensor input").c_str()), tags);
    library.def(torch::schema(schema<A>("_backward", binary).c_str()), tags);
    library.def(torch::schema(schema<A>("_curvature", binary).c_str()), tags);
  });
}

TORCH_LIBRARY_IMPL(activations_ext, CPU, library) {
  implement_all<CpuForward, CpuBackward, CpuCurvature>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, Meta, library) {
  implement_all<MetaForward, MetaBackward, MetaBackward>(library);
}

TORCH_LIBRARY_IMPL(activations_ext, CompositeExplicitAutograd, library) {
  implement_all<NoKernel, NoKernel, NoKernel>(library);
}

}  // namespace activations_ext
