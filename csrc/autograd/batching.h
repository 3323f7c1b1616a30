// vmap: the batch dimension of a pointwise operator is one more dimension.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/ops/broadcast_tensors.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>

namespace activations_ext {

// The vmap level of a tensor, 0 if it is in none (levels count from 1).
inline int64_t vmap_level(const at::Tensor& tensor) {
  const auto* impl = at::functorch::maybeGetBatchedImpl(tensor);
  return impl == nullptr ? 0 : impl->level();
}

// A tensor seen from `level`: its value with the batch dimension in front, if it has one there.
// Tensors of outer levels are left to those levels.
struct Unbatched {
  at::Tensor value;
  bool has_batch;

  Unbatched(const at::Tensor& tensor, int64_t level) : has_batch(vmap_level(tensor) == level) {
    const auto* impl = at::functorch::maybeGetBatchedImpl(tensor);
    value = has_batch ? impl->value().movedim(impl->bdim(), 0) : tensor;
  }
  int64_t logical_rank() const { return value.dim() - has_batch; }

  // With the batch dimension and as many leading dimensions as the other operand has.
  at::Tensor aligned(int64_t logical_rank) const {
    at::Tensor result = has_batch ? value : value.unsqueeze(0);
    while (result.dim() < logical_rank + 1) result = result.unsqueeze(1);
    return result;
  }
};

template <class Compute>
at::Tensor batched(const at::Tensor& a, Compute compute) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const int64_t level = vmap_level(a);
  if (level == 0) return compute(a);
  return at::functorch::makeBatched(compute(Unbatched(a, level).value), 0, level);
}

template <class Compute>
at::Tensor batched(const at::Tensor& a, const at::Tensor& b, Compute compute) {
  c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::FuncTorchBatched);
  const int64_t level = std::max(vmap_level(a), vmap_level(b));
  if (level == 0) return compute(a, b);
  const Unbatched x(a, level), y(b, level);
  const int64_t rank = std::max(x.logical_rank(), y.logical_rank());
  const auto both = at::broadcast_tensors({x.aligned(rank), y.aligned(rank)});
  return at::functorch::makeBatched(compute(both[0], both[1]), 0, level);
}

}  // namespace activations_ext
