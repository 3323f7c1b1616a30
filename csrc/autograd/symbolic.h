// A tensor as a number type of math.h: an activation's formula run on torch's own differentiable
// operators. Slow, and differentiable any number of times: third and higher derivatives come from
// it.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/logical_xor.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>

namespace activations_ext {

struct SymbolicMask {
  at::Tensor tensor;
  friend SymbolicMask operator&(const SymbolicMask& a, const SymbolicMask& b) {
    return {at::logical_and(a.tensor, b.tensor)};
  }
};

struct Symbolic {
  using Number = double;
  at::Tensor tensor;

  Symbolic() = default;
  Symbolic(at::Tensor value) : tensor(std::move(value)) {}
  // A 0-d tensor does not change the dtype of what it meets.
  explicit Symbolic(double everywhere) : tensor(at::scalar_tensor(everywhere, at::kDouble)) {}

  friend Symbolic operator+(const Symbolic& a, const Symbolic& b) { return a.tensor + b.tensor; }
  friend Symbolic operator-(const Symbolic& a, const Symbolic& b) { return a.tensor - b.tensor; }
  friend Symbolic operator*(const Symbolic& a, const Symbolic& b) { return a.tensor * b.tensor; }
  friend Symbolic operator/(const Symbolic& a, const Symbolic& b) { return a.tensor / b.tensor; }
  friend Symbolic operator-(const Symbolic& a) { return -a.tensor; }
  friend SymbolicMask operator<(const Symbolic& a, const Symbolic& b) {
    return {a.tensor < b.tensor};
  }
  friend SymbolicMask operator<=(const Symbolic& a, const Symbolic& b) {
    return {a.tensor <= b.tensor};
  }
  friend SymbolicMask operator>(const Symbolic& a, const Symbolic& b) {
    return {a.tensor > b.tensor};
  }
  friend SymbolicMask operator>=(const Symbolic& a, const Symbolic& b) {
    return {a.tensor >= b.tensor};
  }
  friend SymbolicMask operator==(const Symbolic& a, const Symbolic& b) {
    return {a.tensor == b.tensor};
  }
};

inline Symbolic where(const SymbolicMask& condition, const Symbolic& yes, const Symbolic& no) {
  return at::where(condition.tensor, yes.tensor, no.tensor);
}
// Differentiated from the right at 0, as where(x < 0, left, right) needs it.
inline Symbolic abs(const Symbolic& x) { return where(x < Symbolic(0.0), -x, x); }
inline Symbolic copysign(const Symbolic& magnitude, const Symbolic& sign) {
  const at::Tensor flip = at::logical_xor(sign.tensor < 0, magnitude.tensor < 0);
  return where(SymbolicMask{flip}, -magnitude, magnitude);
}
inline Symbolic madd(const Symbolic& a, const Symbolic& b, const Symbolic& c) { return a * b + c; }
inline Symbolic fma(const Symbolic& a, const Symbolic& b, const Symbolic& c) { return a * b + c; }
inline Symbolic at_least(const Symbolic& x, double low) {
  return where(x < Symbolic(low), Symbolic(low), x);
}
inline Symbolic at_most(const Symbolic& x, double high) {
  return where(x > Symbolic(high), Symbolic(high), x);
}
// Finite even in the branch that `where` discards: 0·∞ would make its gradient NaN.
inline Symbolic library_exp(const Symbolic& x) { return at::exp(at_most(x, 88.0).tensor); }
inline Symbolic library_expm1(const Symbolic& x) { return at::expm1(at_most(x, 88.0).tensor); }
inline Symbolic library_log1p(const Symbolic& x) { return at::log1p(x.tensor); }
inline Symbolic library_erfc(const Symbolic& x) { return at::erfc(x.tensor); }

}  // namespace activations_ext
