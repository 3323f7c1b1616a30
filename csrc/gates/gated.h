// Gated linear units, f(gate)·up, and their gradients: Dauphin et al., arXiv:1612.08083; Shazeer,
// arXiv:2002.05202.
#pragma once

#include "../activations/all.h"
#include "registry.h"

namespace activations_ext {

template <class T>
struct GateGradients {
  T gate, up;
};

template <class A>
struct Gated {
  A activation = {};

  constexpr explicit Gated(const GateOptions&) {}
  template <class T>
  constexpr T value(T gate, T up) const {
    return value_of(activation, gate) * up;
  }
  template <class T>
  constexpr GateGradients<T> gradients(T grad, T gate, T up) const {
    const T value = value_of(activation, gate), slope = slope_at(gate, value);
    const T of_gate = grad * up * slope;
    return {kGated<A> ? where(slope == T(0.0), T(0.0), of_gate) : of_gate, grad * value};
  }

 private:
  template <class T>
  constexpr T slope_at(T gate, T value) const {
    if constexpr (std::is_same_v<A, Sigmoid>) return logistic_slope(gate);  // y·(1−y) loses digits
    if constexpr (kFromInput<A>) return slope_of(activation, gate);
    if constexpr (!kFromInput<A>) return activation.slope_of_result(value);
  }
};

// Without an activation.
struct BilinearUnit {
  constexpr explicit BilinearUnit(const GateOptions&) {}
  template <class T>
  constexpr T value(T gate, T up) const {
    return gate * up;
  }
  template <class T>
  constexpr GateGradients<T> gradients(T grad, T gate, T up) const {
    return {grad * up, grad * gate};
  }
};

// g·σ(αg)·(u + offset) of g = min(gate, limit) and u = up within ±limit, as gpt-oss has it. Beyond
// the limit the slope is 0, at the limit 1, as torch.clamp's.
struct ClampedSwiGLU {
  double alpha, limit, offset;
  SiLU silu = {};

  constexpr explicit ClampedSwiGLU(const GateOptions& of)
      : alpha(of.alpha), limit(of.limit), offset(of.offset) {}
  template <class T>
  constexpr T value(T gate, T up) const {
    return value_of(silu, below(gate) * T(alpha)) * T(1 / alpha) * (within(up) + T(offset));
  }
  template <class T>
  constexpr GateGradients<T> gradients(T grad, T gate, T up) const {
    const T scaled = below(gate) * T(alpha), factor = within(up) + T(offset);
    const T of_gate = grad * factor * slope_of(silu, scaled);
    const T of_up = grad * value_of(silu, scaled) * T(1 / alpha);
    return {where(gate > T(limit), T(0.0), of_gate), where(abs(up) > T(limit), T(0.0), of_up)};
  }

 private:
  // NaN stays NaN.
  template <class T>
  constexpr T below(T x) const {
    return where(x > T(limit), T(limit), x);
  }
  template <class T>
  constexpr T within(T x) const {
    return where(x < T(-limit), T(-limit), below(x));
  }
};

}  // namespace activations_ext
