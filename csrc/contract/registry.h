// The list of the activations, by name: schemas, kernels and Autograd registrations are loops over
// it. Such a loop also needs activations/all.h, which defines the structs.
#pragma once

#include <type_traits>

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

// clang-format off
using Activations = TypeList<
    struct ReLU,
    struct ReLU6,
    struct LeakyReLU,
    struct ELU,
    struct SELU,
    struct CELU,
    struct SERLU,
    struct SquaredReLU,
    struct Hardtanh,
    struct Threshold,
    struct Sigmoid,
    struct Tanh,
    struct LogSigmoid,
    struct Hardsigmoid,
    struct Softsign,
    struct Tanhshrink,
    struct Softplus,
    struct GELU,
    struct GELUTanh,
    struct SiLU,
    struct Mish,
    struct Hardswish,
    struct Softshrink,
    struct Hardshrink,
    struct Exp>;

// Activations that draw a random number for each element.
using RandomActivations = TypeList<
    struct RReLU,
    struct ShiftDropout>;
// clang-format on

}  // namespace activations_ext
