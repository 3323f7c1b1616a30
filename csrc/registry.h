// The list of the activations. Schemas, kernels and Autograd registrations are loops over it.
#pragma once

#include "activations/elu.h"
#include "activations/exp.h"
#include "activations/gelu.h"
#include "activations/hardsigmoid.h"
#include "activations/hardtanh.h"
#include "activations/leaky_relu.h"
#include "activations/mish.h"
#include "activations/relu.h"
#include "activations/rrelu.h"
#include "activations/serlu.h"
#include "activations/shift_dropout.h"
#include "activations/shrink.h"
#include "activations/sigmoid.h"
#include "activations/silu.h"
#include "activations/softplus.h"
#include "activations/softsign.h"
#include "activations/squared_relu.h"
#include "activations/tanh.h"
#include "activations/threshold.h"

namespace activations_ext {

template <class... A>
struct TypeList {
  static constexpr int kSize = sizeof...(A);

  // visit.template operator()<A>() for each
  template <class Visit>
  static constexpr void for_each(Visit visit) {
    (visit.template operator()<A>(), ...);
  }

  template <class Wanted>
  static constexpr int index_of() {
    int index = 0, found = -1;
    ((std::is_same_v<A, Wanted> ? found = index++ : index++), ...);
    return found;
  }
};

using Activations =
    TypeList<ReLU, ReLU6, LeakyReLU, ELU, SELU, CELU, SERLU, SquaredReLU, Hardtanh, Threshold,
             Sigmoid, Tanh, LogSigmoid, Hardsigmoid, Softsign, Tanhshrink, Softplus, GELU, GELUTanh,
             SiLU, Mish, Hardswish, Softshrink, Hardshrink, Exp>;

// Those that draw a random number for each element.
using RandomActivations = TypeList<RReLU, ShiftDropout>;

}  // namespace activations_ext
