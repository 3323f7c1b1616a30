// The operator row_statistics, of which the classification losses are made, and its gradient.
#pragma once

#include "statistics_formula.h"

namespace activations_ext {

// Through the dispatcher.
at::Tensor row_statistics_backward(const RowGradientArguments& of);

// The same, bypassing the dispatcher. With `overwrite` the gradient overwrites the logits, without
// telling Autograd or the version counter.
at::Tensor row_statistics_backward(const RowGradientArguments& of, bool overwrite);

// The operators' checks of saved tensors, for callers that go straight to the kernels.
void check_saved_rows(const RowArguments& of, const at::Tensor& maximum, const at::Tensor& log_sum);

}  // namespace activations_ext
