// The kernels on elements, channels and mixtures of one number type (SWEPT_NUMBER) on arrays of
// exactly the size that they may touch, at every alignment. fuzz_kernels.py compiles it with the
// sanitizers, and runs it; the kernels on rows of classes are rows_sanitized.cpp's.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/binary_sweep.h"
#include "cpu/channel_sweep.h"
#include "cpu/gated_sweep.h"
#include "cpu/mixture_rows.h"
#include "cpu/pointwise_sweep.h"
#include "cpu/random_sweep.h"

using namespace activations_ext;
using namespace activations_ext::cpu;

namespace {

using S = SWEPT_NUMBER;
using Compute = typename ComputeVec<S>::Number;
constexpr Number kNumber = Number::kFloat;  // any place in the tables

// A heap block that ends with the last number, and begins `offset` before the first.
template <class T>
struct Array {
  std::unique_ptr<T[]> memory;
  T* data;
  explicit Array(int64_t count, int64_t offset = 0)
      : memory(new T[count + offset]()), data(memory.get() + offset) {
    const double some[] = {0.3, -1.7, 88.0, -700.0, 0.0, 1e-30, 6e4, 0.9};
    for (int64_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<T, S>) {
        const auto value = Compute(some[i % std::size(some)]);
        S stored[ComputeVec<S>::kLanes];
        store<false>(stored, ComputeVec<S>(value));
        data[i] = stored[0];
      }
    }
  }
};

template <class... Arrays>
std::array<char*, sizeof...(Arrays)> operands(const Arrays&... arrays) {
  return {reinterpret_cast<char*>(arrays.data)...};
}

const int64_t kCounts[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 1023, 1025};

void pointwise_kernels() {
  ElementwiseKernel table[Activations::kSize][kNumbers][kPasses] = {};
  fill_table<S>(table, kNumber);
  Activations::for_each([&]<class A>() {
    Parameters<A> halves;
    halves.fill(0.5);
    const A activation = std::apply([](auto... each) { return A{each...}; }, halves);
    for (const ElementwiseKernel kernel : table[Activations::index_of<A>()][int(kNumber)]) {
      if (kernel == nullptr) continue;
      for (const int64_t count : kCounts) {
        for (const int64_t offset : {0, 1, 3}) {
          Array<S> a(count, offset), b(count), out(count, offset / 2);
          for (const bool stream : {false, true})
            kernel(&activation, operands(out, a, b).data(), count, stream);
          kernel(&activation, operands(a, a, b).data(), count, false);  // in place
        }
      }
    }
  });
}

void random_kernels() {
  RandomKernel table[RandomActivations::kSize][kNumbers] = {};
  fill_table<S>(table, kNumber);
  const RReLU rrelu = {0.1, 0.3};
  const ShiftDropout dropout = {0.5, -1.0};
  const void* const activations[] = {&rrelu, &dropout};
  for (int i = 0; i < RandomActivations::kSize; ++i) {
    for (const int64_t count : kCounts) {
      Array<S> a(count, 1), gate(count), out(count);
      const RandomKernel kernel = table[i][int(kNumber)];
      kernel(activations[i], operands(out, a, gate).data(), 7, 0, count);
      kernel(activations[i], operands(a, a, a).data(), ~uint64_t{0}, 1024, count);
    }
  }
}

void prelu_kernels() {
  ChannelKernels table[kNumbers] = {};
  fill_table<S>(table, kNumber);
  const ChannelKernels& kernels = table[int(kNumber)];
  for (const int64_t count : kCounts) {
    for (const bool each : {false, true}) {
      // With `each` a vector's length may be read beyond the weights; sums, always.
      Array<Compute> weight(each ? count + kMaxLanes : 1);
      Array<double> sums((each ? count : 1) + kMaxLanes);
      Array<S> input(count, 1), grad(count), out(count);
      for (const bool stream : {false, true}) {
        kernels.forward(out.data, input.data, weight.data, each, count, stream);
        kernels.backward(out.data, grad.data, input.data, weight.data, each, sums.data, count,
                         stream);
      }
      kernels.backward(grad.data, grad.data, input.data, weight.data, each, sums.data, count,
                       false);
    }
  }
}

template <class Loss>
void binary_kernels(double gamma) {
  BinaryKernels table[kNumbers] = {};
  fill_table<Loss, S>(table, kNumber);
  const auto& [losses, sum, gradient] = table[int(kNumber)];
  const BinaryOptions options = {gamma, 0.5};
  for (const int64_t count : kCounts) {
    Array<S> out(count), grad(count, 1), logits(count), target(count, 3), pos_weight(count),
        weight(count);
    for (const bool stream : {false, true}) {
      losses(&options, operands(out, logits, target, pos_weight, weight).data(), count, stream);
      gradient(&options, operands(out, grad, logits, target, pos_weight, weight).data(), count,
               stream);
    }
    sum(&options, operands(logits, target, pos_weight, weight).data(), count);
  }
}

void gated_kernels() {
  GatedKernels table[Gates::kSize][kNumbers] = {};
  fill_table<S>(table, kNumber);
  for (int kind = 0; kind < Gates::kSize; ++kind) {
    const GateOptions options = {kind, 1.7, 0.5, 1.0};
    for (const int64_t count : kCounts) {
      Array<S> out(count), other(count, 1), grad(count, 3), gate(count), up(count, 1);
      const auto& [forward, backward] = table[kind][int(kNumber)];
      for (const bool stream : {false, true}) {
        forward(&options, operands(out, gate, up).data(), count, stream);
        backward(&options, operands(out, other, grad, gate, up).data(), count, stream);
      }
    }
  }
}

void mixture_kernels() {
  MixtureKernels table[kNumbers] = {};
  fill_table<S>(table, kNumber);
  for (const int64_t rows : {1, 2, 7, 16, 17, 33}) {
    for (const int64_t components : {1, 2, 5}) {
      for (const int64_t dimensions : {1, 3, 16, 70}) {
        const int64_t numbers = components * dimensions;
        Array<S> logits(rows * components, 1), mean(rows * numbers), scale(rows * numbers, 3),
            target(rows * dimensions), grad_logits(rows * components), grad_mean(rows * numbers),
            grad_scale(rows * numbers);
        Array<Compute> nll(rows);
        for (int scale_by = 0; scale_by < kScales; ++scale_by) {
          for (const double floor : {0.0, 0.1}) {
            const MixtureRows job = {.rows = rows,
                                     .components = components,
                                     .dimensions = dimensions,
                                     .logits = {logits.data, components},
                                     .mean = {mean.data, numbers},
                                     .scale = {scale.data, numbers},
                                     .target = {target.data, dimensions},
                                     .scale_by = ScaleBy(scale_by),
                                     .floor = floor};
            table[int(kNumber)].forward(job, nll.data, 0, rows);
            table[int(kNumber)].backward(
                job, {nll.data, grad_logits.data, grad_mean.data, grad_scale.data}, 0, rows);
          }
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {  // that the sanitizer is awake
    const Array<float> numbers(4);
    return int(numbers.data[argc + 2]);
  }
  pointwise_kernels();
  random_kernels();
  prelu_kernels();
  binary_kernels<BinaryCrossEntropy>(0.0);
  for (const double gamma : {2.0, 0.5}) binary_kernels<FocalBinaryCrossEntropy>(gamma);
  gated_kernels();
  mixture_kernels();
  std::puts("clean");
}
