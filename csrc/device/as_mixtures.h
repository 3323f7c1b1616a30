// Tensors as rows of mixtures, for the launchers of every device.
#pragma once

#include <ATen/core/Tensor.h>

#include "launchers.h"
#include "mixture_job.h"

namespace activations_ext {

// A job of the mixture kernels, and the tensors that own its memory. A tensor whose rows are not
// contiguous is copied first.
struct MixtureJob {
  MixtureTensors tensors;
  MixtureRows rows;

  explicit MixtureJob(const MixtureTensors& of);

  // For a number of each mixture: of the dtype that computes.
  at::Tensor empty_result() const;
  // Contiguous.
  MixtureGradientTensors empty_gradient() const;
  static MixtureGradient memory(const at::Tensor& grad_nll, const MixtureGradientTensors& gradient);
};

}  // namespace activations_ext
