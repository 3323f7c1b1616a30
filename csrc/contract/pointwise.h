#pragma once

#include "activation.h"

namespace activations_ext {

// An activation and its pass, without their types; see kind.h.
struct Pointwise {
  const void* activation;
  int index;  // in Activations
  Pass pass;
  bool cheap;  // bound by memory even within the cache: needs more elements to share with threads
};

}  // namespace activations_ext
