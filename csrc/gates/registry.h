// The list of the gated linear units, by name; gates/gated.h defines them.
#pragma once

#include "../contract/registry.h"

namespace activations_ext {

template <class A>
struct Gated;

using Gates =
    TypeList<Gated<struct SiLU>, Gated<struct GELU>, Gated<struct GELUTanh>, Gated<struct ReLU>,
             Gated<struct Sigmoid>, struct BilinearUnit, struct ClampedSwiGLU>;

// The numbers are for ClampedSwiGLU.
struct GateOptions {
  int kind;  // in Gates
  double alpha, limit, offset;
};

}  // namespace activations_ext
