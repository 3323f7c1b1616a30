// The interface of every device's launchers, which go from tensors to the kernels' raw memory. They
// allocate, choose the kernel for the dtype, traverse strides and split the work. The operators
// have checked the arguments.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "../contract/pointwise.h"
#include "../gates/registry.h"
#include "../losses/logit_map.h"
#include "divergence_job.h"
#include "mixture_job.h"

namespace activations_ext {

// The rows of `logits` along `dim`. `target` (int64) has a class for each row, `weight` a number
// for each class or each logit; either may be undefined. The numbers for each logit may be targets:
// smoothed over the classes, and multiplied by a `class_weight` for each.
struct RowsOfLogits {
  at::Tensor logits, target, weight;
  int64_t dim, ignore_index;
  LogitMap map;
  at::Tensor class_weight = {};
  double smoothing = 0.0;
  bool skip_ignored = false;  // the statistics of rows without a target may be anything
};

// One number for each row, in the shape of `logits` without `dim`; float32 unless the logits are
// float64. See losses/row_statistics.h. Undefined if not requested by a target, a weight or
// `Wanted`. argmax (int64) is the class of the largest logit, as torch.argmax's.
struct RowStatisticsTensors {
  at::Tensor maximum, log_sum, target_logit, weighted_sum, expected_logit, mass, argmax;
};
struct Wanted {
  bool expected = false, argmax = false;
};

// The reduced cross-entropy of rows with one class each. `share` is the derivative of the result
// with respect to the loss of a row that is not ignored, in the compute dtype.
struct CrossEntropyTensors {
  at::Tensor loss, share;
  RowStatisticsTensors row;
};

// Of the rows of `logits` along `dim` from those of `teacher`, of one shape and dtype; both are
// multiplied by `scale` first. See losses/divergence.h.
struct Divergence {
  at::Tensor logits, teacher;
  int64_t dim;
  DivergenceKind kind;
  double beta, scale;
};

// Binary cross-entropy of logits, all of one dtype and shape. A weight that is undefined is 1; the
// others may be expanded. gamma: of the focal loss.
struct BinaryTensors {
  at::Tensor logits, target, pos_weight, weight;
  double gamma = 0.0;
};

// N mixtures of C Gaussians in D dimensions, all of one dtype: logits (N, C), mean and scale
// (N, C, D), target (N, D). See losses/mixture.h.
struct MixtureTensors {
  at::Tensor logits, mean, scale, target;
  ScaleBy scale_by;
  double floor;
};
struct MixtureGradientTensors {
  at::Tensor logits, mean, scale;
};

class Launchers {
 public:
  // False for a GPU without compiled kernels.
  virtual bool runs_on(c10::DeviceIndex) const { return true; }

  // out = op(a) or op(a, b); `b` is undefined for one input. All have the same shape and dtype;
  // `out` may be one of the inputs, or else does not overlap them.
  virtual void pointwise_into(const at::Tensor& out, const Pointwise& op, const at::Tensor& a,
                              const at::Tensor& b) const = 0;
  // The same into a new tensor.
  virtual at::Tensor pointwise(const Pointwise& op, const at::Tensor& a,
                               const at::Tensor& b) const = 0;
  // input = op(input), each element once even where several share memory.
  void pointwise_in_place(const Pointwise& op, const at::Tensor& input) const;

  // `weight` has one element, or one for each channel, which is the input's dimension 1.
  virtual at::Tensor prelu(const at::Tensor& input, const at::Tensor& weight) const = 0;
  virtual std::pair<at::Tensor, at::Tensor> prelu_backward(const at::Tensor& grad_output,
                                                           const at::Tensor& input,
                                                           const at::Tensor& weight,
                                                           bool overwrite) const = 0;

  // The random activation at `index` of RandomActivations. Numbers are dealt in the order of the
  // elements' indices, whatever the strides. `seed` is one int64 on the same device.
  virtual at::Tensor random(int index, const void* activation, const at::Tensor& a,
                            const at::Tensor& gate, const at::Tensor& seed) const = 0;

  // Into contiguous memory. `logarithm` chooses log_softmax.
  virtual at::Tensor softmax(const at::Tensor& input, int64_t dim, bool logarithm) const = 0;
  virtual at::Tensor softmax_backward(const at::Tensor& grad_output, const at::Tensor& result,
                                      int64_t dim, bool logarithm) const = 0;

  virtual RowStatisticsTensors row_statistics(const RowsOfLogits& rows, Wanted wanted) const = 0;
  // An undefined gradient is 0. With `overwrite` the result overwrites the logits.
  virtual at::Tensor row_statistics_backward(const RowsOfLogits& rows,
                                             const RowStatisticsTensors& row,
                                             const RowStatisticsTensors& grad,
                                             bool overwrite) const = 0;

  // `reduction` is of at::Reduction, `of.target` contiguous.
  virtual CrossEntropyTensors cross_entropy(const RowsOfLogits& of, int64_t reduction) const = 0;
  // `grad_output` is of the dtype of the logits: a number, or contiguous with one for each row. An
  // ignored row has no gradient, not even of an infinite one.
  virtual at::Tensor cross_entropy_backward(const at::Tensor& grad_output, const at::Tensor& share,
                                            const RowsOfLogits& of,
                                            const RowStatisticsTensors& row) const = 0;

  // The divergence of each row, and the statistics that the gradient needs. Only where
  // `has_divergences`.
  virtual bool has_divergences() const { return false; }
  virtual std::pair<at::Tensor, at::Tensor> divergence(const Divergence& of) const;
  // `grad` has a number for each row. With `overwrite` the result overwrites the logits.
  virtual at::Tensor divergence_backward(const at::Tensor& grad, const Divergence& of,
                                         const at::Tensor& statistics, bool overwrite) const;

  // Gated linear units of tensors of one shape and dtype, and any strides. Only where `has_gates`.
  virtual bool has_gates() const { return false; }
  virtual at::Tensor gated(const GateOptions& options, const at::Tensor& gate,
                           const at::Tensor& up) const;
  // Into `grad_gate` and `grad_up`, which may be parts of one tensor.
  virtual void gated_backward(const GateOptions& options, const at::Tensor& grad_output,
                              const at::Tensor& gate, const at::Tensor& up,
                              const at::Tensor& grad_gate, const at::Tensor& grad_up) const;
  // Laid out like the gradient of `of`, and uninitialised.
  virtual at::Tensor empty_gradient(const at::Tensor& of) const;

  virtual at::Tensor binary_losses(const BinaryTensors& of) const = 0;
  // Their sum / `divisor`, a tensor without dimensions. The order of the sum depends on the number
  // of elements alone.
  virtual at::Tensor binary_sum(const BinaryTensors& of, double divisor) const = 0;
  // grad_output, which may be expanded, times `scale` and the losses' derivative by the logits.
  virtual at::Tensor binary_backward(const at::Tensor& grad_output, double scale,
                                     const BinaryTensors& of) const = 0;

  // A number for each mixture, of the dtype that computes, which grad_nll has too.
  virtual at::Tensor mixture_nll(const MixtureTensors& of) const = 0;
  virtual MixtureGradientTensors mixture_backward(const at::Tensor& grad_nll,
                                                  const MixtureTensors& of) const = 0;

  // Waits for the device, and raises IndexError if a target so far was not a class. Does nothing
  // where that was known at once.
  virtual void check_targets(c10::Device device) const = 0;

 protected:
  ~Launchers() = default;
};

// Registers a device's launchers, while the library is loaded. Returns true.
bool set_launchers(c10::DeviceType device, const Launchers& launchers);
bool has_launchers(c10::DeviceType type);
bool has_launchers(c10::Device device);

const Launchers& launchers_on(c10::Device device);

// The launchers of the tensor's device.
inline const Launchers& launch_on(const at::Tensor& tensor) {
  return launchers_on(tensor.device());
}

}  // namespace activations_ext
