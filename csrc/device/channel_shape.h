#pragma once

#include <cstdint>

namespace activations_ext {

// Memory of (outer, channels, inner) elements, the last dimension contiguous.
struct ChannelShape {
  int64_t outer, channels, inner;
  constexpr int64_t count() const { return outer * channels * inner; }
};

}  // namespace activations_ext
