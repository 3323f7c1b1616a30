#include "parameters.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <limits>

#include "../activations/elu.h"
#include "../activations/hardtanh.h"
#include "../activations/rrelu.h"
#include "../activations/shift_dropout.h"
#include "../activations/shrink.h"

namespace activations_ext {

template <>
void check_parameters(const CELU& activation) {
  TORCH_CHECK(activation.alpha != 0,
              "celu(): expected argument 'alpha' to be different from 0, but got 0");
}

template <>
void check_parameters(const Hardtanh& activation) {
  TORCH_CHECK_VALUE(activation.min_val <= activation.max_val,
                    "hardtanh(): expected argument 'min_val' to be at most 'max_val', but got ",
                    activation.min_val, " > ", activation.max_val);
}

template <>
void check_parameters(const Softshrink& activation) {
  TORCH_CHECK(activation.lambd >= 0 && std::isfinite(activation.lambd),
              "softshrink(): expected argument 'lambd' to be at least 0 and finite, but got ",
              activation.lambd);
}

template <>
void check_parameters(const RReLU& activation) {
  TORCH_CHECK(std::isfinite(activation.lower) && std::isfinite(activation.upper) &&
                  activation.lower <= activation.upper,
              "rrelu(): expected arguments 'lower' and 'upper' to be finite with lower <= upper, "
              "but got ",
              activation.lower, " and ", activation.upper);
}

template <>
void check_parameters(const ShiftDropout& activation) {
  TORCH_CHECK_VALUE(activation.p >= 0 && activation.p <= 1,
                    "shift_dropout(): expected argument 'p' to be between 0 and 1, but got ",
                    activation.p);
}

double rounded_to(at::ScalarType dtype, double number, const char* name, const char* parameter) {
  double rounded = number, largest = std::numeric_limits<double>::max();
  if (dtype == at::kFloat) {
    rounded = float(number);
    largest = std::numeric_limits<float>::max();
  } else if (dtype == at::kBFloat16) {
    rounded = at::BFloat16(float(number));
    largest = std::numeric_limits<at::BFloat16>::max();
  } else if (dtype == at::kHalf) {
    rounded = at::Half(float(number));
    largest = std::numeric_limits<at::Half>::max();
  }
  TORCH_CHECK(std::abs(number) <= largest || !std::isfinite(number), name,
              "(): expected argument '", parameter, "' to be a number of ", dtype,
              ": value cannot be converted without overflow, but got ", number);
  return rounded;
}

}  // namespace activations_ext
