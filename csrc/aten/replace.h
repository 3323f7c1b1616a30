// This package's kernels behind torch's own operators: activations_ext.enable().
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string>
#include <vector>

namespace activations_ext::aten {

// An operator of torch ("elu_", "elu.out") and what puts our kernel in its place.
struct Operator {
  const char* name;
  void (*implement)(torch::Library& library, const char* name);
};

// The forms and the backward of one function.
struct Group {
  const char* name;
  std::vector<Operator> operators;
};

const std::vector<Group>& activations();
const std::vector<Group>& rows();

// aten::cross_entropy_loss, whatever `compute` gives for arguments beyond the usual ones.
using CrossEntropy = at::Tensor (*)(const at::Tensor& logits, const at::Tensor& target,
                                    const std::optional<at::Tensor>& weight, int64_t reduction,
                                    int64_t ignore_index, double label_smoothing);
void set_cross_entropy(CrossEntropy compute);

// Names of all groups, and of the operators of some.
std::vector<std::string> groups();
std::vector<std::string> operators_of(const std::vector<std::string>& groups);

// Replaces torch's kernels for these groups, and restores torch's for all others.
void replace(const std::vector<std::string>& groups);

}  // namespace activations_ext::aten
