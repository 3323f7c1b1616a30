// Binary cross-entropy on the CPU, from contiguous logits, target, pos_weight and weight.
#pragma once

#include "../losses/binary_cross_entropy.h"
#include "kernels.h"
#include "sweep.h"

namespace activations_ext::cpu {

template <class S>
struct BinaryKernels {
  using V = ComputeVec<S>;

  [[gnu::flatten]] static void losses(const void*, char* const* operands, int64_t count,
                                      bool stream) {
    map(Arrays<S, 1, 4>(operands), count, stream, &BinaryCrossEntropy::value<V>);
  }

  // What pads the tail has a weight of 0.
  [[gnu::flatten]] static double sum(char* const* operands, int64_t count) {
    constexpr int64_t kTogether = 64 * V::kLanes;  // adding many small numbers loses digits
    const Arrays<S, 0, 4> at(operands);
    double total = 0.0;
    for (int64_t begin = 0; begin < count; begin += kTogether) {
      V sum(0.0);
      sweep<false>(at, begin, std::min(count, begin + kTogether),
                   [&](auto... x) { sum = sum + BinaryCrossEntropy::value<V>(x...); });
      total += over_lanes(sum, [](V a, V b) { return a + b; }).native[0];
    }
    return total;
  }

  // `scale` is a double that grad_output is multiplied by.
  [[gnu::flatten]] static void gradient(const void* scale, char* const* operands, int64_t count,
                                        bool stream) {
    const V factor(*static_cast<const double*>(scale));
    map(Arrays<S, 1, 5>(operands), count, stream,
        [=](V grad, V x, V target, V pos_weight, V weight) {
          return grad * factor * BinaryCrossEntropy::slope(x, target, pos_weight, weight);
        });
  }
};

template <class S>
void fill_table(BinaryCrossEntropyKernels (&table)[kNumbers], Number number) {
  using Kernels = BinaryKernels<S>;
  table[int(number)] = {&Kernels::losses, &Kernels::sum, &Kernels::gradient};
}

}  // namespace activations_ext::cpu
