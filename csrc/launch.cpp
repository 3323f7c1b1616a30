#include "launch.h"

#include "cpu/launch.h"

namespace activations_ext {

const Launchers& launch_on(const at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_cpu());
  return cpu::launchers();
}

const at::Tensor& layout_of(const at::Tensor& grad_output, const at::Tensor& saved) {
  for (int64_t i = 0; i < grad_output.dim(); ++i) {
    if (grad_output.sym_stride(i) == 0 && grad_output.sym_size(i) != 1) return saved;
  }
  return grad_output;
}

}  // namespace activations_ext
