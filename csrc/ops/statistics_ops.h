#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace activations_ext {

// The operator of that name, through the dispatcher; see losses/row_statistics.h.
at::Tensor row_statistics_backward(const std::optional<at::Tensor>& grad_log_sum,
                                   const std::optional<at::Tensor>& grad_target_logit,
                                   const std::optional<at::Tensor>& grad_weighted_sum,
                                   const std::optional<at::Tensor>& grad_expected_logit,
                                   const at::Tensor& logits, int64_t dim,
                                   const std::optional<at::Tensor>& target,
                                   const std::optional<at::Tensor>& weight, int64_t ignore_index,
                                   double softcap, const at::Tensor& maximum,
                                   const at::Tensor& log_sum,
                                   const std::optional<at::Tensor>& expected_logit);

// The formula of row_statistics on torch's operators, for tensors that know no others.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> row_statistics_by_formula(
    const at::Tensor& logits, int64_t dim, const std::optional<at::Tensor>& target,
    const std::optional<at::Tensor>& weight, int64_t ignore_index, double softcap);

// The same past the dispatcher. With `overwrite` the logits become their gradient, of which neither
// Autograd nor the version counter is told.
at::Tensor row_statistics_gradient(const std::optional<at::Tensor>& grad_log_sum,
                                   const std::optional<at::Tensor>& grad_target_logit,
                                   const std::optional<at::Tensor>& grad_weighted_sum,
                                   const std::optional<at::Tensor>& grad_expected_logit,
                                   const at::Tensor& logits, int64_t dim,
                                   const std::optional<at::Tensor>& target,
                                   const std::optional<at::Tensor>& weight, int64_t ignore_index,
                                   double softcap, const at::Tensor& maximum,
                                   const at::Tensor& log_sum,
                                   const std::optional<at::Tensor>& expected_logit, bool overwrite);

// What the operators above check of saved tensors, for those who go to the kernels themselves.
void check_saved_rows(const at::Tensor& logits, int64_t dim, const at::Tensor& target,
                      const at::Tensor& maximum, const at::Tensor& log_sum);

}  // namespace activations_ext
