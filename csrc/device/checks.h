// The error texts of the operators. Each names the argument, what was expected and what came.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cfloat>
#include <vector>

namespace activations_ext {

// The dtypes that have kernels.
inline bool has_kernels(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 ||
         dtype == at::kHalf;
}

// torch raises NotImplementedError for integers and complex numbers too, where it has no kernel.
inline void check_floating_point(const char* name, const char* argument, const at::Tensor& tensor) {
  const auto dtype = tensor.scalar_type();
  TORCH_CHECK_NOT_IMPLEMENTED(has_kernels(dtype), name, "(): expected argument '", argument,
                              "' to be a tensor of float32, float64, bfloat16 or float16, but got ",
                              dtype);
}

// The positive numbers that the type that computes for `dtype` can hold and divide by.
struct PositiveNumbers {
  double least, largest;

  explicit PositiveNumbers(at::ScalarType dtype)
      : least(dtype == at::kDouble ? DBL_MIN : FLT_MIN),
        largest(dtype == at::kDouble ? DBL_MAX : FLT_MAX) {}
  bool have(double number) const { return number >= least && number <= largest; }
};

// For sparse and quantized tensors and other devices, if an operator is called directly. The Python
// functions call torch's before.
[[noreturn]] inline void fail_no_kernel(const char* name, const char* argument,
                                        const at::Tensor& tensor) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, name, "(): expected argument '", argument,
                              "' to be a tensor that the operator has a kernel for, strided on the "
                              "CPU, but got layout ",
                              tensor.layout(), " on device ", tensor.device(),
                              "; activations_ext.functional.", name, " calls torch's own function");
}

inline void check_same_device(const char* name, const char* argument, const at::Tensor& tensor,
                              const char* other_argument, const at::Tensor& other) {
  TORCH_CHECK(tensor.device() == other.device(), name, "(): expected argument '", argument,
              "' to be on the device of '", other_argument, "', ", other.device(), ", but got ",
              tensor.device());
}

inline void check_same(const char* name, const at::Tensor& grad_output, const at::Tensor& saved) {
  TORCH_CHECK(grad_output.scalar_type() == saved.scalar_type(), name,
              "(): expected argument 'grad_output' to have the dtype of 'saved', ",
              saved.scalar_type(), ", but got ", grad_output.scalar_type());
  TORCH_CHECK(grad_output.sym_sizes() == saved.sym_sizes(), name,
              "(): expected argument 'grad_output' to have the shape of 'saved', ",
              saved.sym_sizes(), ", but got ", grad_output.sym_sizes());
  check_same_device(name, "grad_output", grad_output, "saved", saved);
}

inline void check_prelu_weight(const at::Tensor& input, const at::Tensor& weight) {
  check_floating_point("prelu", "input", input);
  TORCH_CHECK(weight.scalar_type() == input.scalar_type(),
              "prelu(): expected argument 'weight' to have the dtype of 'input', ",
              input.scalar_type(), ", but got ", weight.scalar_type());
  TORCH_CHECK(weight.dim() <= 1,
              "prelu(): expected argument 'weight' to have 0 or 1 dimensions, but got ",
              weight.dim());
  check_same_device("prelu", "weight", weight, "input", input);
  if (weight.sym_numel() == 1) return;
  const c10::SymInt channels = input.dim() >= 2 ? input.sym_size(1) : c10::SymInt(1);
  TORCH_CHECK(weight.sym_numel() == channels,
              "prelu(): expected argument 'weight' to have 1 element or as many as the input has "
              "channels (dimension 1), ",
              channels, ", but got ", weight.sym_numel());
}

inline void check_seed(const char* name, const at::Tensor& seed) {
  TORCH_CHECK(seed.scalar_type() == at::kLong && seed.dim() == 0, name,
              "(): expected argument 'seed' to be an int64 tensor without dimensions, but got ",
              seed.scalar_type(), " of shape ", seed.sym_sizes());
}

// `rows` has a number for each row of `logits` along `dim`.
inline bool one_for_each_row(const at::Tensor& rows, const at::Tensor& logits, int64_t dim) {
  if (rows.dim() != std::max<int64_t>(logits.dim() - 1, 0)) return false;
  for (int64_t d = 0; d < rows.dim(); ++d) {
    if (rows.sym_size(d) != logits.sym_size(d < dim ? d : d + 1)) return false;
  }
  return true;
}

// `row` counts through the elements of `target`.
[[noreturn]] inline void fail_target(const at::Tensor& target, int64_t row, int64_t classes,
                                     int64_t ignore_index) {
  std::vector<int64_t> position(target.dim());
  int64_t rest = row;
  for (int64_t d = target.dim() - 1; d >= 0; --d) {
    position[d] = rest % target.size(d);
    rest /= target.size(d);
  }
  TORCH_CHECK_INDEX(false, "cross_entropy(): expected argument 'target' to have classes from 0 to ",
                    classes - 1, ", or the ignore_index ", ignore_index, ", but got ",
                    target.const_data_ptr<int64_t>()[row], " at position ",
                    c10::IntArrayRef(position));
}

// IndexError for the first class that does not exist. `target` is contiguous, int64, on the CPU.
inline void check_classes(const at::Tensor& target, int64_t classes, int64_t ignore_index) {
  const int64_t* const asked = target.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < target.numel(); ++row) {
    if (asked[row] != ignore_index && (asked[row] < 0 || asked[row] >= classes))
      fail_target(target, row, classes, ignore_index);
  }
}

}  // namespace activations_ext
