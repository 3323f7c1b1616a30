// The contract that an activation keeps: one struct of pure maths in csrc/activations/.
//
//   struct ELU {
//     static constexpr const char* kName = "elu";                    // the operator's name
//     static constexpr Shape kShape = Shape::kSmooth;
//     static constexpr std::array kParameters = {Parameter{"alpha", 1.0}};
//     double alpha;                                                  // in the same order
//
//     bool saves_result() const;              // what backward reads: the result or the input
//     template <class T> T value(T x) const;
//     template <class T> T slope(T x) const;                // f'(x) and f''(x), where the input
//     template <class T> T curvature(T x) const;            // may be saved;
//     template <class T> T slope_of_result(T y) const;      // f' as a function s(y) of the result,
//     template <class T> T curvature_of_result(T y) const;  // and s'(y), where that may be
//   };
//
// T is double, float or a SIMD vector (see math.h). `where` evaluates both sides. The direction of
// a comparison decides what happens at a kink and for NaN: write it so that NaN gives NaN.
#pragma once

#include <array>
#include <concepts>
#include <limits>
#include <type_traits>

namespace activations_ext {

// A float parameter of the operator. NaN stands for "no default".
struct Parameter {
  const char* name;
  double default_value = std::numeric_limits<double>::quiet_NaN();
};

enum class Shape {
  kSmooth,           // grad_input = grad_output · slope
  kPiecewise,        // where the slope is 0 the gradient is 0, even of an infinite grad_output
  kPiecewiseLinear,  // and there is no curvature
};

template <class A>
concept Activation = std::is_trivially_copyable_v<A> && requires(const A f, double x) {
  { A::kName } -> std::convertible_to<const char*>;
  { A::kShape } -> std::convertible_to<Shape>;
  { A::kParameters.size() } -> std::convertible_to<std::size_t>;
  { f.saves_result() } -> std::same_as<bool>;
  { f.value(x) } -> std::same_as<double>;
};

template <class A>
constexpr std::size_t kArity = A::kParameters.size();

template <class A>
constexpr bool kMaySaveInput = requires(const A f, double x) { f.slope(x); };
template <class A>
constexpr bool kMaySaveResult = requires(const A f, double x) { f.slope_of_result(x); };
template <class A>
constexpr bool kCurved = A::kShape != Shape::kPiecewiseLinear;

}  // namespace activations_ext
