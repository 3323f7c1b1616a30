#include "layout.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

namespace activations_ext {

Number number_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return Number::kFloat;
    case at::kDouble:
      return Number::kDouble;
    case at::kBFloat16:
      return Number::kBFloat16;
    case at::kHalf:
      return Number::kHalf;
    default:
      TORCH_INTERNAL_ASSERT(false, "dtype without a kernel: ", dtype);
  }
}

void check_storage(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return;
  int64_t last = tensor.storage_offset();
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  const int64_t needed = (last + 1) * int64_t(tensor.itemsize());
  const int64_t available = int64_t(tensor.storage().nbytes());
  TORCH_CHECK(needed <= available, "expected a tensor whose storage holds at least ", needed,
              " bytes, but got one of ", available,
              " bytes: its storage was freed or resized after the tensor was made");
}

const void* readable(const at::Tensor& tensor) {
  check_storage(tensor);
  return tensor.const_data_ptr();
}

void* writable(const at::Tensor& tensor) {
  check_storage(tensor);
  return tensor.mutable_data_ptr();
}

bool same_dense_layout(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  return a.strides() == b.strides() && a.is_non_overlapping_and_dense();
}

const at::Tensor& layout_of(const at::Tensor& grad_output, const at::Tensor& saved) {
  for (int64_t i = 0; i < grad_output.dim(); ++i) {
    if (grad_output.sym_stride(i) == 0 && grad_output.sym_size(i) != 1) return saved;
  }
  return grad_output;
}

at::Tensor laid_out_as(const at::Tensor& model, const at::Tensor& tensor) {
  if (same_dense_layout(model, tensor)) return tensor;
  at::AutoDispatchBelowADInplaceOrView below;
  at::Tensor result = at::empty_like(model);
  return result.strides() == tensor.strides() ? tensor : result.copy_(tensor);
}

at::Tensor channels_somewhere(const at::Tensor& input) {
  const bool channels_last = input.is_contiguous(at::MemoryFormat::ChannelsLast) ||
                             input.is_contiguous(at::MemoryFormat::ChannelsLast3d);
  return channels_last ? input : input.contiguous();
}

ChannelShape channel_shape(const at::Tensor& input, int64_t weights) {
  const int64_t count = input.numel();
  if (weights == 1) return {1, 1, count};
  const bool channels_inside = !input.is_contiguous();  // a permuted layout, channels last
  const int64_t inner = channels_inside ? 1 : count / weights / input.size(0);
  return {count / weights / inner, weights, inner};
}

}  // namespace activations_ext
