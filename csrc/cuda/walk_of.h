// Makes the walk of an elementwise kernel from tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "../device/layout.h"
#include "walk.h"

namespace activations_ext::cuda {

// How the inputs lie relative to `out`, which is dense; none if that takes too many dimensions.
inline std::optional<Walk> walk_of(const at::Tensor& out, std::span<const at::Tensor> inputs) {
  const auto alike = [&](const at::Tensor& input) { return same_dense_layout(out, input); };
  if (std::ranges::all_of(inputs, alike)) return Walk();
  if (out.numel() > Walk::kMostElements) return std::nullopt;
  std::vector<int64_t> order(out.dim());  // from the innermost
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int64_t d) { return out.size(d) == 1; });
  std::ranges::sort(order, {}, [&](int64_t d) { return out.stride(d); });
  std::vector<int64_t> sizes, strides[Walk::kMostInputs];
  for (const int64_t d : order) {
    bool merges = !sizes.empty();
    for (std::size_t i = 0; merges && i < inputs.size(); ++i)
      merges = inputs[i].stride(d) == strides[i].back() * sizes.back();
    if (merges) {
      sizes.back() *= out.size(d);
      continue;
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) strides[i].push_back(inputs[i].stride(d));
    sizes.push_back(out.size(d));
  }
  if (sizes.size() > Walk::kMostDims) return std::nullopt;
  bool flat = sizes.size() == 1;
  for (std::size_t i = 0; flat && i < inputs.size(); ++i) flat = strides[i][0] == 1;
  if (flat) return Walk();
  Walk walk(sizes);
  for (std::size_t i = 0; i < inputs.size(); ++i) std::ranges::copy(strides[i], walk.strides[i]);
  return walk;
}

// The walk through all inputs in the order of `out`. If it takes too many dimensions, copies
// replace the inputs, which costs a pass more.
inline Walk walked(std::span<at::Tensor> inputs, const at::Tensor& out) {
  const std::optional<Walk> walk = walk_of(out, inputs);
  if (walk) return *walk;
  for (at::Tensor& input : inputs) input = laid_out_as(out, input);
  return Walk();
}

}  // namespace activations_ext::cuda
