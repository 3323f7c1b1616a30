// When backward may write its result over the incoming gradient.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Allocator.h>

#include "plain.h"

namespace activations_ext {

// True if the caller's reference is the only one to `grad_output`, its memory is torch's own, and
// no graph of the backward pass is being built. Hooks, captured gradients, other branches of the
// graph and Python all hold a reference; a tensor made from a numpy array has another deleter.
inline bool may_overwrite(const at::Tensor& grad_output, const at::Tensor& saved) {
  if (at::GradMode::is_enabled() || grad_output.use_count() != 1) return false;
  if (!nothing_intercepts() || !is_plain(grad_output) || !is_plain(saved)) return false;
  const c10::Storage& storage = grad_output.storage();
  return storage.use_count() == 1 && grad_output.device() == saved.device() &&
         grad_output.scalar_type() == saved.scalar_type() &&
         grad_output.is_non_overlapping_and_dense() &&
         (grad_output.strides() == saved.strides() ||
          (grad_output.is_contiguous() && saved.is_contiguous())) &&
         grad_output.sizes() == saved.sizes() && !grad_output.is_inference() &&
         storage.data_ptr().get_deleter() ==
             c10::GetAllocator(storage.device_type())->raw_deleter();
}

}  // namespace activations_ext
