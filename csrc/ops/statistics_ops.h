// The operator row_statistics, of which the classification losses are made, and its gradient.
#pragma once

#include "statistics_formula.h"

namespace activations_ext {

// Through the dispatcher.
at::Tensor row_statistics_backward(const RowGradientArguments& of);

// The same past the dispatcher. With `overwrite` the logits become their gradient, of which neither
// Autograd nor the version counter is told.
at::Tensor row_statistics_backward(const RowGradientArguments& of, bool overwrite);

// What the operators check of saved tensors, for those who go to the kernels themselves.
void check_saved_rows(const RowArguments& of, const at::Tensor& maximum, const at::Tensor& log_sum);

}  // namespace activations_ext
