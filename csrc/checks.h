// Every error text of the operators, once. Each names the argument, what was expected and what came.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include "registry.h"

namespace activations_ext {

// Integers and complex numbers: torch raises NotImplementedError too.
inline void check_floating_point(const char* name, const char* argument, const at::Tensor& tensor) {
  const auto dtype = tensor.scalar_type();
  TORCH_CHECK_NOT_IMPLEMENTED(
      dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 || dtype == at::kHalf,
      name, "(): expected argument '", argument,
      "' to be a tensor of float32, float64, bfloat16 or float16, but got ", dtype);
}

// Sparse, quantized and foreign-device tensors end here: the dispatcher found no kernel for them.
[[noreturn]] inline void fail_no_kernel(const char* name, const char* argument,
                                        const at::Tensor& tensor) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, name, "(): expected argument '", argument,
                              "' to be a dense tensor on the CPU, but got layout ", tensor.layout(),
                              " on device ", tensor.device());
}

inline void check_same(const char* name, const at::Tensor& grad_output, const at::Tensor& saved) {
  TORCH_CHECK(grad_output.scalar_type() == saved.scalar_type(), name,
              "(): expected argument 'grad_output' to have the dtype of 'saved', ",
              saved.scalar_type(), ", but got ", grad_output.scalar_type());
  TORCH_CHECK(grad_output.sym_sizes() == saved.sym_sizes(), name,
              "(): expected argument 'grad_output' to have the shape of 'saved', ",
              saved.sym_sizes(), ", but got ", grad_output.sym_sizes());
}

// What the parameters of one activation must satisfy; none by default.
template <class A>
inline void check_parameters(const A&) {}

template <>
inline void check_parameters(const CELU& activation) {
  // torch raises ZeroDivisionError in Python; the wrapper translates.
  TORCH_CHECK(activation.alpha != 0,
              "celu(): expected argument 'alpha' to be different from 0, but got 0");
}

template <>
inline void check_parameters(const Hardtanh& activation) {
  TORCH_CHECK_VALUE(activation.min_val <= activation.max_val,
                    "hardtanh(): expected argument 'min_val' to be at most 'max_val', but got ",
                    activation.min_val, " > ", activation.max_val);
}

template <>
inline void check_parameters(const Softplus& activation) {
  TORCH_CHECK(activation.beta > 0, "softplus(): expected argument 'beta' to be positive, but got ",
              activation.beta);
}

template <>
inline void check_parameters(const Softshrink& activation) {
  TORCH_CHECK(activation.lambd >= 0,
              "softshrink(): expected argument 'lambd' to be at least 0, but got ",
              activation.lambd);
}

}  // namespace activations_ext
