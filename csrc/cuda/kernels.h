// The kernels' interface to the launchers: raw device memory, queued on a stream. They are never
// called with zero elements. Needs CUDA's headers, but not torch's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../contract/activation.h"
#include "../contract/registry.h"
#include "../device/channel_shape.h"
#include "../device/mixture_job.h"
#include "../device/row_job.h"
#include "walk.h"

namespace activations_ext::cuda {

// out = pass(a, b), where `out` is dense; see pointwise_sweep.cuh.
using PointwiseKernel = void (*)(const void* activation, void* out, const void* a, const void* b,
                                 const Walk& walk, int64_t count, cudaStream_t stream);

// out = value(a, gate, uniform numbers of the stream *seed), which is device memory; see
// random_sweep.cuh.
using RandomKernel = void (*)(const void* activation, void* out, const void* a, const void* gate,
                              const int64_t* seed, int64_t count, cudaStream_t stream);

// A weight for each channel; see channel_sweep.cuh.
struct ChannelKernels {
  void (*forward)(void* out, const void* input, const void* weight, ChannelShape shape,
                  cudaStream_t stream);
  // `partial` has room for channel_splits(shape) numbers a channel.
  void (*backward)(void* grad_input, void* grad_weight, double* partial, const void* grad_output,
                   const void* input, const void* weight, ChannelShape shape, cudaStream_t stream);
};

// The number of parts of a channel's sum; a part has some thousand elements.
int channel_splits(ChannelShape shape);

struct KernelTable {
  PointwiseKernel pointwise[Activations::kSize][kNumbers][kPasses];
  RandomKernel random[RandomActivations::kSize][kNumbers];
  ChannelKernels prelu[kNumbers];
};

const KernelTable& kernels();

// Whether the kernels were compiled for the current device.
bool kernels_have_image();

// Kernels on rows of classes; see statistics_rows.cuh and softmax_rows.cuh. `report` is visible to
// host and device: for a target that is not a class, the kernel writes the row and the target
// (Target); the row's loss is NaN and its gradient 0. `partial` has partial_bytes(shape).
struct StatisticsKernels {
  void (*forward)(const StatisticsRows& job, const StatisticsResults& results, int64_t* report,
                  void* partial, cudaStream_t stream);
  void (*backward)(const StatisticsRows& job, const StatisticsGradient& gradient,
                   cudaStream_t stream);
};
// The cross-entropy of rows whose statistics are known, and the share of a kept row's loss in it:
// the loss of each row, their sum or their mean. `partial` has kLossPartialBytes.
struct CrossEntropyJob {
  const void *log_sum, *target_logit;
  const int64_t* target;
  int64_t rows, ignore_index;
  void *loss, *share;
  bool of_rows, mean;
};
using CrossEntropyKernel = void (*)(const CrossEntropyJob& job, void* partial, cudaStream_t stream);
constexpr int kMostLossParts = 256;
constexpr int64_t kLossPartialBytes = kMostLossParts * 16;

struct SoftmaxKernels {
  void (*forward)(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out,
                  cudaStream_t stream);
  void (*backward)(const RowShape& shape, Matrix<const void*> grad_output,
                   Matrix<const void*> result, Matrix<void*> out, cudaStream_t stream);
};

// How many blocks share a row, and the memory for their sums.
int row_splits(const RowShape& shape);
int64_t partial_bytes(const RowShape& shape);

struct RowKernelTable {
  StatisticsKernels statistics[kNumbers];
  CrossEntropyKernel cross_entropy[kNumbers];
  SoftmaxKernels softmax[kNumbers], log_softmax[kNumbers];
};

const RowKernelTable& row_kernels();

// Binary cross-entropy; see binary_cross_entropy.cuh. The inputs of `count` elements are
// grad_output (for a gradient of each loss alone), logits, target and the weights that are given.
struct BinaryJob {
  const void* inputs[Walk::kMostInputs];
  Walk walk;
  int64_t count;
  int weights;    // that are given
  bool positive;  // one weight, and it is pos_weight
  double gamma;   // of the focal loss
};
struct BinaryKernels {
  void (*losses)(const BinaryJob& job, void* out, cudaStream_t stream);
  // `out` is one number, `partial` has room for binary_parts(job.count).
  void (*sum)(const BinaryJob& job, void* out, double* partial, double divisor,
              cudaStream_t stream);
  // `grad_output` is one number, or null if it is among the inputs.
  void (*gradient)(const BinaryJob& job, void* out, const void* grad_output, double scale,
                   cudaStream_t stream);
};

int64_t binary_parts(int64_t count);

const BinaryKernels& binary_kernels(Number number, bool focal);

// See mixture_rows.cuh.
struct MixtureKernels {
  void (*forward)(const MixtureRows& job, void* nll, cudaStream_t stream);
  void (*backward)(const MixtureRows& job, const MixtureGradient& gradient, cudaStream_t stream);
};

const MixtureKernels& mixture_kernels(Number number);

}  // namespace activations_ext::cuda
