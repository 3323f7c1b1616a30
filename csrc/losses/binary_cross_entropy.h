// The loss of one logit x whose class is 1 with probability t, for p = σ(x) and q = σ(−x):
//
//   ℓ = −w·(v·t·log p + (1−t)·log q)     v the weight of the positive class
//   ℓ·r^γ,  r = 1 − p_t = (1−t)·p + t·q  focal (Lin et al., arXiv:1708.02002)
//
// Both logarithms are sums of non-negative terms, so neither loses digits; the usual (1−t)·x + …
// does at confident logits.
#pragma once

#include "../math/math.h"

namespace activations_ext {

// p and q.
template <class T>
struct Sides {
  T p, q;
  constexpr explicit Sides(T x) {
    const T e = decay(abs(x)), larger = T(1.0) / (T(1.0) + e), smaller = e * larger;
    const auto left = x < T(0.0);
    p = where(left, smaller, larger);
    q = where(left, larger, smaller);
  }
};

struct BinaryCrossEntropy {
  template <class T>
  constexpr T value(T x, T target, T pos_weight, T weight) const {
    const T tail = log1p_unit(decay(abs(x)));
    const T positive = at_least(-x, 0.0) + tail, negative = at_least(x, 0.0) + tail;
    return weight * madd(pos_weight * target, positive, (T(1.0) - target) * negative);
  }
  // of x
  template <class T>
  constexpr T slope(T x, T target, T pos_weight, T weight) const {
    const Sides<T> at(x);
    return weight * ((T(1.0) - target) * at.p - pos_weight * target * at.q);
  }
};

struct FocalBinaryCrossEntropy {
  double gamma;
  BinaryCrossEntropy unfocused = {};

  template <class T>
  constexpr T value(T x, T target, T pos_weight, T weight) const {
    return unfocused.value(x, target, pos_weight, weight) * power(rest(Sides(x), target), gamma);
  }
  template <class T>
  constexpr T slope(T x, T target, T pos_weight, T weight) const {
    const Sides<T> at(x);
    const T r = rest(at, target), by_x = (T(1.0) - T(2.0) * target) * at.p * at.q;
    const T by_rest =
        T(gamma) * power(r, gamma - 1) * unfocused.value(x, target, pos_weight, weight);
    // Of an infinite x the loss is infinite, and r no longer changes.
    const T bent = where(by_x == T(0.0), T(0.0), by_rest * by_x);
    return madd(power(r, gamma), unfocused.slope(x, target, pos_weight, weight), bent);
  }

 private:
  template <class T>
  static constexpr T rest(const Sides<T>& at, T target) {
    return madd(T(1.0) - target, at.p, target * at.q);
  }
  // r^n, and 0 for r = 0 whatever n is. Products for small whole numbers: γ·log r would lose digits
  // where r is small.
  template <class T>
  static constexpr T power(T r, double n) {
    constexpr int kMostProducts = 8;
    if (n >= 0 && n <= kMostProducts && n == int(n)) {
      T product = where(r > T(0.0), T(1.0), r * T(0.0));
      for (int k = 0; k < int(n); ++k) product = product * r;
      return product;
    }
    return where(r > T(0.0), exp(T(n) * log(at_least(r, kLeast<T>))), r * T(0.0));
  }
  // The smallest normal number.
  template <class T>
  static constexpr double kLeast =
      std::is_same_v<typename NumberOf<T>::type, double> ? 0x1p-1022 : 0x1p-126;
};

}  // namespace activations_ext
