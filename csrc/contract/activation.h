// The contract of an activation: one struct of pure mathematics in csrc/activations/.
//
//   struct ELU {
//     static constexpr const char* kName = "elu";                    // the operator's name
//     static constexpr Shape kShape = Shape::kSmooth;
//     static constexpr std::array kParameters = {Parameter{"alpha"}};
//     double alpha;                                                  // in the same order
//
//     template <class T> T value(T x) const;
//     template <class T> T slope(T x) const;                // f'(x) and f''(x): backward reads the
//     template <class T> T curvature(T x) const;            // input. Left out where it reads the
//     template <class T> T slope_of_result(T y) const;      // result: f' as a function s(y) of it
//     template <class T> T curvature_of_result(T y) const;  // and s'(y).
//     bool result_tells_slope() const;  // with both kinds: whether the in-place form, which torch
//   };                                  // differentiates from the result, may do so
//
// T is double, float or a SIMD vector (see math.h). `where` evaluates both sides. The direction of
// a comparison decides what happens at a kink and for NaN: write it so that NaN gives NaN.
#pragma once

#include <array>
#include <concepts>
#include <type_traits>

namespace activations_ext {

// How a parameter relates to the numbers in a tensor. Each has the precision of the type that
// computes, but a bound is rounded to the tensor's dtype, as torch's kernel does before it
// compares.
enum class Role {
  kFactor,
  kValue,  // may take their place: the dtype has to hold it
  kBound,  // the same, and rounded
};

// A float parameter of the operator.
struct Parameter {
  const char* name;
  Role role = Role::kFactor;
};

enum class Shape {
  kSmooth,     // grad_input = grad_output · slope
  kBent,       // where the slope is 0 the gradient is 0, even of an infinite grad_output
  kGate,       // the same, and there is no curvature
  kTwoSlopes,  // grad_output · slope, and no curvature
};

// The number formats that have kernels.
enum class Number { kFloat, kDouble, kBFloat16, kHalf };
constexpr int kNumbers = 4;

// What a sweep over memory computes of its inputs a and b.
enum class Pass {
  kForward,           // out = value(a)
  kBackward,          // out = a · slope(b), b the saved input
  kCurvature,         // out = a · ∂slope/∂b
  kBackwardOfResult,  // the same, b the saved result
  kCurvatureOfResult,
};
constexpr int kPasses = 5;

template <class A>
constexpr std::size_t kArity = A::kParameters.size();

// An activation's parameters, in order.
template <class A>
using Parameters = std::array<double, kArity<A>>;

template <class A>
constexpr bool kCurved = A::kShape == Shape::kSmooth || A::kShape == Shape::kBent;
template <class A>
constexpr bool kGated = A::kShape == Shape::kBent || A::kShape == Shape::kGate;

// What backward reads.
template <class A>
constexpr bool kFromInput = requires(const A f, double x) { f.slope(x); };
template <class A>
constexpr bool kFromResult = requires(const A f, double x) { f.slope_of_result(x); };

// Requires every formula that the shape calls for, so that a misspelt one does not compile.
template <class A>
concept Activation =
    std::is_trivially_copyable_v<A> &&
    requires(const A f, double x) {
      { A::kName } -> std::convertible_to<const char*>;
      { A::kShape } -> std::convertible_to<Shape>;
      { A::kParameters.size() } -> std::convertible_to<std::size_t>;
      { f.value(x) } -> std::same_as<double>;
    } && (kFromInput<A> || kFromResult<A>) &&
    (!kFromInput<A> || !kCurved<A> || requires(const A f, double x) { f.curvature(x); }) &&
    (!kFromResult<A> || !kCurved<A> || requires(const A f, double x) {
      f.curvature_of_result(x);
    }) && (!kFromInput<A> || !kFromResult<A> || requires(const A f) {
      { f.result_tells_slope() } -> std::same_as<bool>;
    });

// visit.template operator()<kPass>() for each pass that the activation has.
template <class A, class Visit>
constexpr void for_each_pass(Visit visit) {
  visit.template operator()<Pass::kForward>();
  if constexpr (kFromInput<A>) visit.template operator()<Pass::kBackward>();
  if constexpr (kFromInput<A> && kCurved<A>) visit.template operator()<Pass::kCurvature>();
  if constexpr (kFromResult<A>) visit.template operator()<Pass::kBackwardOfResult>();
  if constexpr (kFromResult<A> && kCurved<A>) visit.template operator()<Pass::kCurvatureOfResult>();
}

// The in-place form saves its result, else a copy of its input.
template <class A>
constexpr bool saves_result_in_place(const A& activation) {
  if constexpr (kFromInput<A> && kFromResult<A>) return activation.result_tells_slope();
  return kFromResult<A>;
}

// Value and slope as the sweeps ask for them. A number type may have overloads for an activation
// that it computes faster in another way (cpu/avx512/).
template <class A, class T>
constexpr T value_of(const A& activation, T x) {
  return activation.value(x);
}
template <class A, class T>
constexpr T slope_of(const A& activation, T x) {
  return activation.slope(x);
}

}  // namespace activations_ext
