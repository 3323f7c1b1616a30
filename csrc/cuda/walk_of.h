// Makes the walk of a pointwise kernel from tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "../device/layout.h"
#include "walk.h"

namespace activations_ext::cuda {

// How the inputs lie relative to `out`, which is dense; none if that takes too many dimensions. An
// input that is undefined lies as `out` does.
inline std::optional<Walk> walk_of(const at::Tensor& out, const at::Tensor& a,
                                   const at::Tensor& b) {
  const auto alike = [&](const at::Tensor& t) { return !t.defined() || same_dense_layout(out, t); };
  if (alike(a) && alike(b)) return Walk();
  if (out.numel() > Walk::kMostElements) return std::nullopt;
  std::vector<int64_t> order(out.dim());  // from the innermost
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](int64_t d) { return out.size(d) == 1; });
  std::ranges::sort(order, {}, [&](int64_t d) { return out.stride(d); });
  const at::Tensor* const inputs[] = {&a, b.defined() ? &b : &out};
  std::vector<int64_t> sizes, strides[2];
  for (const int64_t d : order) {
    bool merges = !sizes.empty();
    for (int i = 0; merges && i < 2; ++i)
      merges = inputs[i]->stride(d) == strides[i].back() * sizes.back();
    if (merges) {
      sizes.back() *= out.size(d);
      continue;
    }
    for (int i = 0; i < 2; ++i) strides[i].push_back(inputs[i]->stride(d));
    sizes.push_back(out.size(d));
  }
  if (sizes.size() > Walk::kMostDims) return std::nullopt;
  if (sizes.size() == 1 && strides[0][0] == 1 && strides[1][0] == 1) return Walk();
  Walk walk(sizes);
  for (int i = 0; i < 2; ++i) std::ranges::copy(strides[i], walk.strides[i]);
  return walk;
}

}  // namespace activations_ext::cuda
