#pragma once

#include "../contract/activation.h"
#include "../math/math.h"

namespace activations_ext {

// slope·x for x ≤ 0, x otherwise, the slope drawn uniformly from [lower, upper): Xu et al.,
// arXiv:1505.00853. The gradient is the same map of grad_output, gated by the sign of x, which is
// also that of the result as long as no slope is negative.
struct RReLU {
  static constexpr const char* kName = "rrelu";
  static constexpr std::array kParameters = {Parameter{"lower"}, Parameter{"upper"}};
  double lower, upper;

  constexpr bool result_tells_slope() const { return lower >= 0; }

  // `uniform` is the element's random number in [0, 1).
  template <class T>
  constexpr T value(T x, T gate, T uniform) const {
    return where(gate <= T(0.0), madd(uniform, T(upper - lower), T(lower)) * x, x);
  }
};

}  // namespace activations_ext
