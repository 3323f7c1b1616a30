// softmax and log_softmax of one element of a row, and their gradients.
#pragma once

#include "row_sums.h"

namespace activations_ext {

struct Softmax {
  // of d = x − m, Σ e^(x−m) being `sum`
  template <class T>
  static constexpr T value(T d, T inverse_sum, T) {
    return exp(d) * inverse_sum;
  }
  // What a row's gradient needs the sum of, and the gradient with that.
  template <class T>
  static constexpr T summand(T grad_output, T y) {
    return grad_output * y;
  }
  template <class T>
  static constexpr T gradient(T grad_output, T y, T sum) {
    return y * (grad_output - sum);
  }
};

struct LogSoftmax {
  template <class T>
  static constexpr T value(T d, T, T log_sum) {
    return d - log_sum;
  }
  template <class T>
  static constexpr T summand(T grad_output, T) {
    return grad_output;
  }
  template <class T>
  static constexpr T gradient(T grad_output, T y, T sum) {
    return grad_output - exp(y) * sum;
  }
};

}  // namespace activations_ext
