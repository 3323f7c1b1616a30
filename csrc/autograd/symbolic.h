// A tensor as a number type of math.h: it evaluates an activation's formula with torch's operators.
// Constants stay numbers, so that a graph traced from it holds scalars.
//
// Grade::kDifferentiated can be differentiated any number of times: third and higher derivatives
// come from it. The other grades are for the graphs of torch.compile, and use operators that
// compilers know as one instruction: kDouble for float64, kSingle for float32 and kQuick for
// float32 whose results are rounded to 16 bits.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/copysign.h>
#include <ATen/ops/erfc.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log1p.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/logical_xor.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>

#include <bit>
#include <type_traits>
#include <utility>

#include "../math/numbers.h"

namespace activations_ext {

enum class Grade { kDifferentiated, kDouble, kSingle, kQuick };

// The numbers of a float32 tensor, which has no polynomials here: not the type float.
struct Single {
  float value;
  constexpr explicit Single(double number) : value(float(number)) {}
  constexpr explicit operator double() const { return value; }
};

struct SymbolicMask {
  at::Tensor tensor;
  at::ScalarType compared;  // the dtype of what was compared
  friend SymbolicMask operator&(const SymbolicMask& a, const SymbolicMask& b) {
    return {at::logical_and(a.tensor, b.tensor), a.compared};
  }
};
inline bool any(const SymbolicMask&) { return true; }  // nothing reads a value on the host

template <Grade kGrade>
struct SymbolicNumber {
  static constexpr bool kTraced = kGrade != Grade::kDifferentiated;
  using Number =
      std::conditional_t<kGrade == Grade::kSingle || kGrade == Grade::kQuick, Single, double>;
  at::Tensor tensor;  // undefined in a constant
  double constant = 0;

  SymbolicNumber() = default;
  SymbolicNumber(at::Tensor value) : tensor(std::move(value)) {}
  explicit SymbolicNumber(double everywhere) : constant(everywhere) {}

  bool is_constant() const { return !tensor.defined(); }
  // A 0-d tensor does not change the dtype of what it meets.
  at::Tensor as_tensor() const {
    return is_constant() ? at::scalar_tensor(constant, at::kDouble) : tensor;
  }

  friend SymbolicNumber operator+(const SymbolicNumber& a, const SymbolicNumber& b) {
    if (a.is_constant() && b.is_constant()) return SymbolicNumber(a.constant + b.constant);
    if (a.is_constant()) return b.tensor + a.constant;
    return b.is_constant() ? a.tensor + b.constant : a.tensor + b.tensor;
  }
  friend SymbolicNumber operator-(const SymbolicNumber& a, const SymbolicNumber& b) {
    if (a.is_constant() && b.is_constant()) return SymbolicNumber(a.constant - b.constant);
    if (a.is_constant()) return at::rsub(b.tensor, a.constant);
    return b.is_constant() ? a.tensor - b.constant : a.tensor - b.tensor;
  }
  friend SymbolicNumber operator*(const SymbolicNumber& a, const SymbolicNumber& b) {
    if (a.is_constant() && b.is_constant()) return SymbolicNumber(a.constant * b.constant);
    if (b.is_constant()) return b * a;
    if (!a.is_constant()) return a.tensor * b.tensor;
    return a.constant == 1 ? b.tensor : b.tensor * a.constant;
  }
  friend SymbolicNumber operator/(const SymbolicNumber& a, const SymbolicNumber& b) {
    if (a.is_constant() && b.is_constant()) return SymbolicNumber(a.constant / b.constant);
    if (a.is_constant()) return SymbolicNumber(at::reciprocal(b.tensor)) * a;
    return b.is_constant() ? a.tensor / b.constant : a.tensor / b.tensor;
  }
  friend SymbolicNumber operator-(const SymbolicNumber& a) {
    if (a.is_constant()) return SymbolicNumber(-a.constant);
    return -a.tensor;
  }

  friend SymbolicMask operator<(const SymbolicNumber& a, const SymbolicNumber& b) {
    return compared(a, b, [](const auto& x, const auto& y) { return x < y; });
  }
  friend SymbolicMask operator<=(const SymbolicNumber& a, const SymbolicNumber& b) {
    return compared(a, b, [](const auto& x, const auto& y) { return x <= y; });
  }
  friend SymbolicMask operator>(const SymbolicNumber& a, const SymbolicNumber& b) {
    return compared(a, b, [](const auto& x, const auto& y) { return x > y; });
  }
  friend SymbolicMask operator>=(const SymbolicNumber& a, const SymbolicNumber& b) {
    return compared(a, b, [](const auto& x, const auto& y) { return x >= y; });
  }
  friend SymbolicMask operator==(const SymbolicNumber& a, const SymbolicNumber& b) {
    return compared(a, b, [](const auto& x, const auto& y) { return x == y; });
  }

  friend SymbolicNumber where(const SymbolicMask& condition, const SymbolicNumber& yes,
                              const SymbolicNumber& no) {
    const at::Tensor& c = condition.tensor;
    if (yes.is_constant() && no.is_constant())
      return at::where(c, at::scalar_tensor(yes.constant, condition.compared), no.constant);
    if (yes.is_constant()) return at::where(c, yes.constant, no.tensor);
    return no.is_constant() ? at::where(c, yes.tensor, no.constant)
                            : at::where(c, yes.tensor, no.tensor);
  }
  friend SymbolicNumber abs(const SymbolicNumber& x) {
    if constexpr (kTraced) return at::abs(x.tensor);
    // The derivative at 0 is the right one, as where(x < 0, left, right) needs.
    return where(x < SymbolicNumber(0.0), -x, x);
  }
  friend SymbolicNumber copysign(const SymbolicNumber& magnitude, const SymbolicNumber& sign) {
    if constexpr (kTraced) return at::copysign(magnitude.as_tensor(), sign.tensor);
    const auto flip = at::logical_xor(sign.tensor < 0, magnitude.as_tensor() < 0);
    return where(SymbolicMask{flip, sign.tensor.scalar_type()}, -magnitude, magnitude);
  }
  friend SymbolicNumber madd(const SymbolicNumber& a, const SymbolicNumber& b,
                             const SymbolicNumber& c) {
    return a * b + c;
  }
  // A graph has no fused multiply-add: what the product's rounding loses comes from its factors'
  // halves (Dekker).
  friend SymbolicNumber fma(const SymbolicNumber& a, const SymbolicNumber& b,
                            const SymbolicNumber& c) {
    const SymbolicNumber product = a * b;
    if constexpr (kGrade != Grade::kSingle && kGrade != Grade::kDouble) return product + c;
    const auto [a_high, a_low] = halves(a);
    const auto [b_high, b_low] = halves(b);
    const SymbolicNumber lost =
        ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    return (product + c) + lost;
  }
  friend SymbolicNumber at_least(const SymbolicNumber& x, double low) {
    if constexpr (kTraced) return at::clamp_min(x.tensor, low);
    return where(x < SymbolicNumber(low), SymbolicNumber(low), x);
  }
  friend SymbolicNumber at_most(const SymbolicNumber& x, double high) {
    if constexpr (kTraced) return at::clamp_max(x.tensor, high);
    return where(x > SymbolicNumber(high), SymbolicNumber(high), x);
  }

  friend SymbolicNumber library_exp(const SymbolicNumber& x) { return at::exp(finite(x).tensor); }
  friend SymbolicNumber library_log(const SymbolicNumber& x) { return at::log(x.tensor); }
  friend SymbolicNumber library_expm1(const SymbolicNumber& x) {
    return at::expm1(finite(x).tensor);
  }
  friend SymbolicNumber library_log1p(const SymbolicNumber& x) { return at::log1p(x.tensor); }
  friend SymbolicNumber library_erfc(const SymbolicNumber& x) { return at::erfc(x.tensor); }

 private:
  template <class Compare>
  static SymbolicMask compared(const SymbolicNumber& a, const SymbolicNumber& b, Compare compare) {
    const at::ScalarType dtype = (a.is_constant() ? b : a).tensor.scalar_type();
    if (a.is_constant()) return {compare(at::Scalar(a.constant), b.tensor), dtype};
    if (b.is_constant()) return {compare(a.tensor, at::Scalar(b.constant)), dtype};
    return {compare(a.tensor, b.tensor), dtype};
  }
  // x = high + low, each with half of the digits (Veltkamp).
  static std::pair<SymbolicNumber, SymbolicNumber> halves(const SymbolicNumber& x) {
    const double factor = kGrade == Grade::kSingle ? 0x1p12 + 1 : 0x1p27 + 1;
    if (x.is_constant()) {
      const double high = kGrade == Grade::kSingle
                              ? std::bit_cast<float>(std::bit_cast<int32_t>(float(x.constant)) &
                                                     int32_t(0xfffff000))
                              : x.constant * factor - (x.constant * factor - x.constant);
      return {SymbolicNumber(high), SymbolicNumber(double(Number(x.constant)) - high)};
    }
    const SymbolicNumber scaled = x * SymbolicNumber(factor), high = scaled - (scaled - x);
    return {high, x - high};
  }
  // An exponential is finite even in the branch that `where` discards: 0·∞ would make its gradient
  // NaN.
  static SymbolicNumber finite(const SymbolicNumber& x) {
    if (kTraced) return x;
    const at::ScalarType dtype = x.tensor.scalar_type();
    return at_most(x, dtype == at::kDouble ? 709.0 : dtype == at::kHalf ? 11.0 : 88.0);
  }
};

using Symbolic = SymbolicNumber<Grade::kDifferentiated>;

template <>
constexpr bool kRoundsLater<SymbolicNumber<Grade::kQuick>> = true;

}  // namespace activations_ext
