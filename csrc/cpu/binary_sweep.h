// Binary cross-entropy on the CPU, from contiguous logits, target, pos_weight and weight.
#pragma once

#include "../losses/binary_cross_entropy.h"
#include "kernels.h"
#include "sweep.h"

namespace activations_ext::cpu {

template <class Loss>
Loss loss_of(const BinaryOptions& options) {
  if constexpr (std::is_same_v<Loss, FocalBinaryCrossEntropy>) return {options.gamma};
  return {};
}

template <class Loss, class S>
struct BinarySweeps {
  using V = ComputeVec<S>;

  [[gnu::flatten]] static void losses(const void* options, char* const* operands, int64_t count,
                                      bool stream) {
    const Loss loss = loss_of<Loss>(*static_cast<const BinaryOptions*>(options));
    map(Arrays<S, 1, 4>(operands), count, stream, [=](V x, V target, V pos_weight, V weight) {
      return loss.value(x, target, pos_weight, weight);
    });
  }

  // What pads the tail has a weight of 0.
  [[gnu::flatten]] static double sum(const void* options, char* const* operands, int64_t count) {
    constexpr int64_t kTogether = 64 * V::kLanes;  // adding many small numbers loses digits
    const Loss loss = loss_of<Loss>(*static_cast<const BinaryOptions*>(options));
    const Arrays<S, 0, 4> at(operands);
    double total = 0.0;
    for (int64_t begin = 0; begin < count; begin += kTogether) {
      V sum(0.0);
      sweep<false>(at, begin, std::min(count, begin + kTogether),
                   [&](auto... x) { sum = sum + loss.value(x...); });
      total += over_lanes(sum, [](V a, V b) { return a + b; }).native[0];
    }
    return total;
  }

  [[gnu::flatten]] static void gradient(const void* options, char* const* operands, int64_t count,
                                        bool stream) {
    const auto& given = *static_cast<const BinaryOptions*>(options);
    const Loss loss = loss_of<Loss>(given);
    const V factor(given.scale);
    map(Arrays<S, 1, 5>(operands), count, stream,
        [=](V grad, V x, V target, V pos_weight, V weight) {
          return grad * factor * loss.slope(x, target, pos_weight, weight);
        });
  }
};

template <class Loss, class S>
void fill_table(BinaryKernels (&table)[kNumbers], Number number) {
  using Sweeps = BinarySweeps<Loss, S>;
  table[int(number)] = {&Sweeps::losses, &Sweeps::sum, &Sweeps::gradient};
}

}  // namespace activations_ext::cpu
