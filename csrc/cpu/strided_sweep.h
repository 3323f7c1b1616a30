// Functions of several operands, each with a stride of its own: side by side, one number for all,
// or any other. What is broadcast need not be written out.
#pragma once

#include <array>

#include "../losses/binary_cross_entropy.h"
#include "kernels.h"
#include "storage.h"

namespace activations_ext::cpu {

template <class S>
struct StridedOperand {
  using V = ComputeVec<S>;
  const char* data;
  int64_t stride;  // in bytes

  S one(int64_t i) const {
    S number;
    std::memcpy(&number, data + i * stride, sizeof number);
    return number;
  }
  // `valid` elements from i on; the other lanes repeat the last of them.
  V vector(int64_t i, int valid) const {
    if (stride == sizeof(S) && valid == V::kLanes)
      return load(reinterpret_cast<const S*>(data + i * stride));
    S lanes[V::kLanes];
    for (int lane = 0; lane < V::kLanes; ++lane)
      lanes[lane] = one(i + (stride == 0 ? 0 : std::min(lane, valid - 1)));
    return load(lanes);
  }
};

// use(i, valid, function of the operands' vectors at i): they lie at data[0], data[1], …
template <class S, std::size_t kOperands, class Function, class Use>
void for_vectors(char* const* data, const int64_t* strides, int64_t count, Function function,
                 Use use) {
  constexpr int kWidth = ComputeVec<S>::kLanes;
  for (int64_t i = 0; i < count; i += kWidth) {
    const int valid = int(std::min<int64_t>(kWidth, count - i));
    [&]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
      use(i, valid, function(StridedOperand<S>{data[kIndex], strides[kIndex]}.vector(i, valid)...));
    }(std::make_index_sequence<kOperands>());
  }
}

template <class S>
void put(char* data, int64_t stride, int64_t i, int valid, ComputeVec<S> x) {
  constexpr int kWidth = ComputeVec<S>::kLanes;
  if (stride == sizeof(S) && valid == kWidth)
    return store<false>(reinterpret_cast<S*>(data + i * stride), x);
  S lanes[kWidth];
  store<false>(lanes, x);
  for (int lane = 0; lane < valid; ++lane)
    std::memcpy(data + (i + lane) * stride, &lanes[lane], sizeof(S));
}

struct BinaryLoops : BinaryCrossEntropy {
  template <class S>
  static void losses(char* const* data, const int64_t* strides, int64_t count) {
    using V = ComputeVec<S>;
    for_vectors<S, 4>(data + 1, strides + 1, count, &value<V>, [&](int64_t i, int valid, V loss) {
      put<S>(data[0], strides[0], i, valid, loss);
    });
  }

  template <class S>
  static double sum(char* const* data, const int64_t* strides, int64_t count) {
    using V = ComputeVec<S>;
    constexpr int64_t kTogether = 64 * V::kLanes;  // adding many small numbers loses digits
    double total = 0.0;
    for (int64_t first = 0; first < count; first += kTogether) {
      const std::array<char*, 4> at = {data[0] + first * strides[0], data[1] + first * strides[1],
                                       data[2] + first * strides[2], data[3] + first * strides[3]};
      V sum = V(0.0);
      for_vectors<S, 4>(at.data(), strides, std::min(kTogether, count - first), &value<V>,
                        [&](int64_t, int valid, V loss) {
                          const auto there = first_lanes<typename V::Number>(valid);
                          sum = sum + (valid < V::kLanes ? where(there, loss, V(0.0)) : loss);
                        });
      total += over_lanes(sum, [](V a, V b) { return a + b; }).native[0];
    }
    return total;
  }

  template <class S>
  static void gradient(char* const* data, const int64_t* strides, int64_t count, double scale) {
    using V = ComputeVec<S>;
    const auto function = [scale](V grad, V x, V target, V pos_weight, V weight) {
      return grad * V(scale) * slope(x, target, pos_weight, weight);
    };
    for_vectors<S, 5>(data + 1, strides + 1, count, function, [&](int64_t i, int valid, V grad) {
      put<S>(data[0], strides[0], i, valid, grad);
    });
  }
};

template <class S>
void fill_table(BinaryCrossEntropyKernels (&table)[kNumbers], Number number) {
  table[int(number)] = {&BinaryLoops::losses<S>, &BinaryLoops::sum<S>, &BinaryLoops::gradient<S>};
}

}  // namespace activations_ext::cpu
