#pragma once

#include "../math/math.h"

namespace activations_ext {

// share·number, and 0 for a share of 0 even where the number is infinite.
template <class T>
constexpr T shared(T share, T number) {
  return where(share == T(0.0), T(0.0), share * number);
}

}  // namespace activations_ext
