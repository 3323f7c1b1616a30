#include "as_mixtures.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "layout.h"

namespace activations_ext {
namespace {

Strided<const void*> rows_of(at::Tensor& tensor) {
  // The strides of dimensions 1, … as if they were contiguous.
  int64_t expected = 1;
  for (int64_t d = tensor.dim() - 1; d > 0; --d) {
    if (tensor.size(d) != 1 && tensor.stride(d) != expected) {
      check_storage(tensor);
      tensor = tensor.contiguous();
      break;
    }
    expected *= tensor.size(d);
  }
  return {readable(tensor), tensor.stride(0)};
}

}  // namespace

MixtureJob::MixtureJob(const MixtureTensors& of) : tensors(of) {
  rows = {.rows = of.mean.size(0),
          .components = of.mean.size(1),
          .dimensions = of.mean.size(2),
          .logits = rows_of(tensors.logits),
          .mean = rows_of(tensors.mean),
          .scale = rows_of(tensors.scale),
          .target = rows_of(tensors.target),
          .scale_by = of.scale_by,
          .floor = of.floor};
}

at::Tensor MixtureJob::empty_result() const {
  const auto dtype = at::toOpMathType(tensors.mean.scalar_type());
  return at::empty({rows.rows}, tensors.mean.options().dtype(dtype));
}

MixtureGradientTensors MixtureJob::empty_gradient() const {
  const auto contiguous = at::MemoryFormat::Contiguous;
  return {at::empty_like(tensors.logits, contiguous), at::empty_like(tensors.mean, contiguous),
          at::empty_like(tensors.scale, contiguous)};
}

MixtureGradient MixtureJob::memory(const at::Tensor& grad_nll,
                                   const MixtureGradientTensors& gradient) {
  return {readable(grad_nll), gradient.logits.mutable_data_ptr(), gradient.mean.mutable_data_ptr(),
          gradient.scale.mutable_data_ptr()};
}

}  // namespace activations_ext
