#include "cpu_launchers.h"
#include "elementwise.h"

namespace activations_ext::cpu {
namespace {

const GatedKernels& kernels_of(const GateOptions& options, const at::Tensor& gate) {
  return kernels().gated[options.kind][int(number_of(gate.scalar_type()))];
}

}  // namespace

at::Tensor CpuLaunchers::gated(const GateOptions& options, const at::Tensor& gate,
                               const at::Tensor& up) const {
  const at::Tensor out = empty_output(gate, up);
  run({kernels_of(options, gate).forward, &options}, {&out, &gate, &up});
  return out;
}

void CpuLaunchers::gated_backward(const GateOptions& options, const at::Tensor& grad_output,
                                  const at::Tensor& gate, const at::Tensor& up,
                                  const at::Tensor& grad_gate, const at::Tensor& grad_up) const {
  run({kernels_of(options, gate).backward, &options},
      {&grad_gate, &grad_up, &grad_output, &gate, &up}, /*outputs=*/2);
}

at::Tensor CpuLaunchers::empty_gradient(const at::Tensor& of) const { return empty_output(of, {}); }

}  // namespace activations_ext::cpu
