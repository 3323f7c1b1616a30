// The CPU's launchers, and what they share.
#pragma once

#include "../device/launchers.h"
#include "../device/layout.h"
#include "kernels.h"

namespace activations_ext::cpu {

// The kernels of this machine's instruction set; called once, at import.
void set_kernels(const KernelTable* kernels);
const KernelTable& kernels();

class CpuLaunchers final : public Launchers {
 public:
  void pointwise_into(const at::Tensor& out, const Pointwise& op, const at::Tensor& a,
                      const at::Tensor& b) const override;
  at::Tensor pointwise(const Pointwise& op, const at::Tensor& a,
                       const at::Tensor& b) const override;

  at::Tensor prelu(const at::Tensor& input, const at::Tensor& weight) const override;
  std::pair<at::Tensor, at::Tensor> prelu_backward(const at::Tensor& grad_output,
                                                   const at::Tensor& input,
                                                   const at::Tensor& weight,
                                                   bool overwrite) const override;

  at::Tensor random(int index, const void* activation, const at::Tensor& a, const at::Tensor& gate,
                    const at::Tensor& seed) const override;

  at::Tensor softmax(const at::Tensor& input, int64_t dim, bool logarithm) const override;
  at::Tensor softmax_backward(const at::Tensor& grad_output, const at::Tensor& result, int64_t dim,
                              bool logarithm) const override;
  RowStatisticsTensors row_statistics(const RowsOfLogits& rows, Wanted wanted) const override;
  at::Tensor row_statistics_backward(const RowsOfLogits& rows, const RowStatisticsTensors& row,
                                     const RowStatisticsTensors& grad,
                                     bool overwrite) const override;
  CrossEntropyTensors cross_entropy(const RowsOfLogits& of, int64_t reduction) const override;
  at::Tensor cross_entropy_backward(const at::Tensor& grad_output, const at::Tensor& share,
                                    const RowsOfLogits& of,
                                    const RowStatisticsTensors& row) const override;

  bool has_divergences() const override { return true; }
  std::pair<at::Tensor, at::Tensor> divergence(const Divergence& of) const override;
  at::Tensor divergence_backward(const at::Tensor& grad, const Divergence& of,
                                 const at::Tensor& statistics, bool overwrite) const override;

  bool has_gates() const override { return true; }
  at::Tensor gated(const GateOptions& options, const at::Tensor& gate,
                   const at::Tensor& up) const override;
  void gated_backward(const GateOptions& options, const at::Tensor& grad_output,
                      const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad_gate,
                      const at::Tensor& grad_up) const override;
  at::Tensor empty_gradient(const at::Tensor& of) const override;

  at::Tensor binary_losses(const BinaryTensors& of) const override;
  at::Tensor binary_sum(const BinaryTensors& of, double divisor) const override;
  at::Tensor binary_backward(const at::Tensor& grad_output, double scale,
                             const BinaryTensors& of) const override;

  at::Tensor mixture_nll(const MixtureTensors& of) const override;
  MixtureGradientTensors mixture_backward(const at::Tensor& grad_nll,
                                          const MixtureTensors& of) const override;
  void check_targets(c10::Device) const override {}
};

// Large new tensors come from an allocator of ours (large_blocks.h), and stores bypass the cache.
bool is_large(const at::Tensor& tensor);

// A new tensor laid out like that of a pointwise operator; `b` is undefined for one input.
at::Tensor empty_output(const at::Tensor& a, const at::Tensor& b);

}  // namespace activations_ext::cpu
