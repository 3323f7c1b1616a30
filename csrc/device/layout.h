// How tensors lie in memory, for the launchers of every device.
#pragma once

#include <ATen/core/Tensor.h>

#include "../contract/activation.h"
#include "channel_shape.h"

namespace activations_ext {

// The type of the numbers in a tensor's memory.
Number number_of(at::ScalarType dtype);

// The first number of `tensor`. Raises RuntimeError if the storage ends before the last one, for
// instance after `untyped_storage().resize_()`.
const void* readable(const at::Tensor& tensor);
void* writable(const at::Tensor& tensor);

// The same check, for memory that is traversed elsewhere.
void check_storage(const at::Tensor& tensor);

// Both can be walked as flat memory, element by element.
bool same_dense_layout(const at::Tensor& a, const at::Tensor& b);

// The tensor whose layout torch's pointwise operators give their result: the gradient, unless it is
// expanded.
const at::Tensor& layout_of(const at::Tensor& grad_output, const at::Tensor& saved);

// `tensor`, or a copy, laid out as torch's pointwise operators would for the input `model`.
at::Tensor laid_out_as(const at::Tensor& model, const at::Tensor& tensor);

// `input`, or a copy in a layout that channel_shape knows.
at::Tensor channels_somewhere(const at::Tensor& input);

// For as many weights as there are channels in dimension 1, or a single one.
ChannelShape channel_shape(const at::Tensor& input, int64_t weights);

}  // namespace activations_ext
