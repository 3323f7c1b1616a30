// The statistics of rows of logits on torch's operators, for devices and modes without kernels.
// See losses/row_statistics.h.
#pragma once

#include "../autograd/members.h"
#include "../device/launchers.h"

namespace activations_ext {

// The rows of `logits` along `dim`, with a class and a weight for each, or without; see
// RowsOfLogits.
struct RowArguments {
  at::Tensor logits;
  int64_t dim;
  MaybeTensor target, weight, class_weight;
  double smoothing;
  int64_t ignore_index;
  LogitMap map;
  auto members() {
    return std::tie(logits, dim, target, weight, class_weight, smoothing, ignore_index, map.cap,
                    map.scale);
  }
};

// maximum, log_sum, target_logit, weighted_sum, expected_logit, mass, argmax
using Statistics =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// A gradient that is missing is 0. `maximum` and what follows came from forward.
struct RowGradientArguments {
  MaybeTensor grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit;
  RowArguments rows;
  at::Tensor maximum, log_sum;
  MaybeTensor expected_logit;
  auto members() {
    return std::tuple_cat(
        std::tie(grad_log_sum, grad_target_logit, grad_weighted_sum, grad_expected_logit),
        rows.members(), std::tie(maximum, log_sum, expected_logit));
  }
};

// Statistics that were not requested are tensors without elements.
Statistics statistics_formula(const RowArguments& of, Wanted wanted);
at::Tensor statistics_backward_formula(const RowGradientArguments& of);
// Of `weight` and `class_weight`, in their shapes. The gradients given may be undefined.
std::pair<at::Tensor, at::Tensor> weight_gradients_formula(const at::Tensor& grad_weighted_sum,
                                                           const at::Tensor& grad_mass,
                                                           const RowArguments& of,
                                                           const at::Tensor& maximum,
                                                           bool of_weight, bool of_class_weight);

// The softcap is 0 or a number that the type that computes can hold and divide by, as is the scale.
void check_map(const LogitMap& map, at::ScalarType dtype);

}  // namespace activations_ext
