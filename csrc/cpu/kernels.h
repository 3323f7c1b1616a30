// The interface of a CPU kernel module (_cpu_default, _cpu_avx2, _cpu_avx512) to _C: a table of
// functions on raw, contiguous memory. They run on the calling thread; the launchers split the
// work.
#pragma once

#include <cstdint>

#include "../contract/activation.h"
#include "../device/divergence_job.h"
#include "../device/mixture_job.h"
#include "../device/row_job.h"
#include "../gates/registry.h"

namespace activations_ext::cpu {

// Computes `count` contiguous elements. `operands` are the outputs, then the inputs; an output may
// be an input. `function` points to the struct that computes. With `stream`, stores bypass the
// cache.
using ElementwiseKernel = void (*)(const void* function, char* const* operands, int64_t count,
                                   bool stream);

// out = value(a, gate, uniform numbers of the stream `seed`). `first`, a multiple of kRandomChunk,
// is the index of the first element in its tensor.
using RandomKernel = void (*)(const void* activation, char* const* operands, uint64_t seed,
                              int64_t first, int64_t count);

// `weight` holds numbers of the type that computes: with `each` one for each element, plus a
// vector's length of any to read beyond the end, else one for all. `grad_weight` has the same
// layout in double; the gradient is added to it.
struct ChannelKernels {
  void (*forward)(void* out, const void* input, const void* weight, bool each, int64_t count,
                  bool stream);
  void (*backward)(void* grad_input, const void* grad_output, const void* input, const void* weight,
                   bool each, double* grad_weight, int64_t count, bool stream);
};

// How many elements past the end of `weight` and `grad_weight` a kernel may access.
constexpr int kMaxLanes = 16;

// Up to this number of classes, many rows are processed at once.
constexpr int64_t kFewClasses = 128;

// Of `count` neighbouring classes of one row; the launcher puts the sums of a row together. Forward
// they are a logit m near the largest and Σ c·e^(x−m), with the same c for all segments; backward
// `sum` is the gradient's.
struct SegmentSums {
  double maximum, sum;
};
struct SegmentKernels {
  SegmentSums (*forward_sums)(const void* input, void* out, int64_t count);  // may write `out`
  void (*forward)(const void* input, void* out, int64_t count, SegmentSums of_segment,
                  SegmentSums of_row);
  SegmentSums (*backward_sums)(const void* grad_output, const void* result, int64_t count);
  void (*backward)(const void* grad_output, const void* result, void* out, int64_t count,
                   SegmentSums of_row);
};

// Of rows [begin, end): softmax or its logarithm, and the gradient, `result` being what the forward
// pass wrote. With `stream` the stores bypass the cache.
struct SoftmaxKernels {
  void (*forward)(const RowShape& shape, Matrix<const void*> input, Matrix<void*> out, bool stream,
                  int64_t begin, int64_t end);
  void (*backward)(const RowShape& shape, Matrix<const void*> grad_output,
                   Matrix<const void*> result, Matrix<void*> out, bool stream, int64_t begin,
                   int64_t end);
  SegmentKernels segments;
};

struct StatisticsKernels {
  void (*forward)(const StatisticsRows& rows, const StatisticsResults& results, int64_t begin,
                  int64_t end);
  void (*backward)(const StatisticsRows& rows, const StatisticsGradient& gradient, int64_t begin,
                   int64_t end);
};

// Of rows [begin, end); see divergence_rows.h.
struct DivergenceKernels {
  void (*forward)(const DivergenceRows& job, void* value, int64_t begin, int64_t end);
  void (*backward)(const DivergenceRows& job, const void* grad, Matrix<void*> out, bool stream,
                   int64_t begin, int64_t end);
};

// The operands are the output (not for the sum), for the gradient grad_output, then logits, target,
// pos_weight and weight. The function is a BinaryOptions.
struct BinaryOptions {
  double gamma = 0.0;
  double scale = 1.0;  // of the gradient
};
struct BinaryKernels {
  ElementwiseKernel losses;
  double (*sum)(const void* options, char* const* operands, int64_t count);
  ElementwiseKernel gradient;
};

// Of rows [begin, end); see mixture_rows.h.
struct MixtureKernels {
  void (*forward)(const MixtureRows& job, void* nll, int64_t begin, int64_t end);
  void (*backward)(const MixtureRows& job, const MixtureGradient& gradient, int64_t begin,
                   int64_t end);
};

// Of a GateOptions. The operands are the output, or the gradients of gate and up; then for these
// grad_output; then gate and up.
struct GatedKernels {
  ElementwiseKernel forward, backward;
};

struct KernelTable {
  ElementwiseKernel pointwise[Activations::kSize][kNumbers][kPasses];  // nullptr: no such formula
  ChannelKernels prelu[kNumbers];
  RandomKernel random[RandomActivations::kSize][kNumbers];
  SoftmaxKernels softmax[kNumbers], log_softmax[kNumbers];
  StatisticsKernels statistics[kNumbers];
  DivergenceKernels divergence[kNumbers];
  BinaryKernels binary_cross_entropy[kNumbers], focal_binary_cross_entropy[kNumbers];
  MixtureKernels mixture[kNumbers];
  GatedKernels gated[Gates::kSize][kNumbers];
};

// The name under which a kernel module passes its table through Python.
constexpr const char* kKernelTableCapsule = "activations_ext.KernelTable";

}  // namespace activations_ext::cpu
