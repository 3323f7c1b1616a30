// What one pass computes from the inputs a and b, on any device. The sweeps move the memory.
#pragma once

#include "../math/numbers.h"
#include "activation.h"

namespace activations_ext {

template <Pass kPass, class A, class T>
constexpr T evaluate(const A& activation, T a, T b) {
  const auto times_slope = [a](T slope) {
    if constexpr (kGated<A>) return where(slope == T(0.0), T(0.0), a * slope);
    return a * slope;
  };
  if constexpr (kPass == Pass::kForward) return value_of(activation, a);
  if constexpr (kPass == Pass::kBackward) return times_slope(slope_of(activation, b));
  if constexpr (kPass == Pass::kBackwardOfResult) return times_slope(activation.slope_of_result(b));
  if constexpr (kPass == Pass::kCurvature) return a * activation.curvature(b);
  if constexpr (kPass == Pass::kCurvatureOfResult) return a * activation.curvature_of_result(b);
}

}  // namespace activations_ext
