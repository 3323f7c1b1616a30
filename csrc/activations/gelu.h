#pragma once

#include "../activation.h"
#include "../math.h"

namespace activations_ext {

// x·Φ(x), Φ the standard normal distribution function: Hendrycks and Gimpel, arXiv:1606.08415.
// All of it comes from Φ(−|x|), which keeps its relative accuracy in the tail.
struct GELU {
  static constexpr const char* kName = "gelu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  constexpr bool saves_result() const { return false; }

  // x − |x|·Φ(−|x|), and −|x|·Φ(−|x|) for negative x: there 0·x is NaN at −∞, as torch's.
  template <class T>
  constexpr T value(T x) const {
    const T a = clamped(x);
    T tail;  // a·Φ(−a)
    if constexpr (kIsFloat<T>) {
      tail = exp_minus_half_square_times(mills_ratio_times(a), a);
    } else {
      tail = a * upper_tail(a);
    }
    return where(x < T(0.0), T(0.0) * x, x) - tail;
  }
  // Φ(x) + x·φ(x), which is 1 less its value at −x; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T a = clamped(x);
    T tail;  // Φ(−a) − a·φ(a)
    if constexpr (kIsFloat<T>) {
      tail = exp_minus_half_square_times(madd(T(-kPeak), a, mills_ratio(a)), a);
    } else {
      tail = upper_tail(a) - exp_minus_half_square_times(T(kPeak) * a, a);
    }
    return madd(T(0.0), x, where(x < T(0.0), tail, T(1.0) - tail));
  }
  // φ(x)·(2 − x²)
  template <class T>
  constexpr T curvature(T x) const {
    const T a = clamped(x);
    return exp_minus_half_square_times(T(kPeak) * (T(2.0) - a * a), a);
  }

 private:
  static constexpr double kPeak = 0.39894228040143267794;  // φ(0) = 1/√(2π)

  // |x| up to where e^(−x²/2) has underflowed.
  template <class T>
  static constexpr T clamped(T x) {
    return at_most(abs(x), kIsFloat<T> ? 14.9 : 37.5);
  }
  // Φ(−a)
  template <class T>
  static constexpr T upper_tail(T a) {
    return T(0.5) * library_erfc(a * T(0.70710678118654752440));
  }
  // m(a) = e^(a²/2)·Φ(−a) is P(t)/(a + 4) of t = (a − 4)/(a + 4): smooth, and never small.
  template <class T>
  static constexpr T mills_ratio(T a) {
    const T inverse = T(1.0) / (a + T(4.0));
    return inverse * polynomial((a - T(4.0)) * inverse, 0.7552851353, -0.6078965849, 0.3871369068,
                                -0.1865235298, 0.06040369723, -0.007524743168, -0.003511605131,
                                0.001569271917, 0.0001774106088, -0.0001328868195);
  }
  // a·m(a) for a < 15, with little more than the rounding to the pair's `high`: a polynomial around
  // the centre of each piece of a + 1, whose constant is almost a float.
  template <class T>
  static constexpr Pair<T> mills_ratio_times(T a) {
    constexpr Table kPieces[] = {
        // the centres, then the coefficients
        {1.243164063, 1.7734375, 2.250976563, 2.766601563, 3.51953125, 4.494140625, 5.485351563,
         6.512695313, 7.9765625, 10.01757813, 12.0078125, 14.01757813, 0.0, 0.361328125,
         0.642578125, 0.8798828125},
        {0.2878146177, 0.3254145385, 0.3457499452, 0.3598597942, 0.3724558952, 0.3815751671,
         0.3868256212, 0.3901342153, 0.3929467789, 0.3950801491, 0.396231114, 0.3969421988, 0.0,
         0.138438955, 0.2055779099, 0.2455045878},
        {0.09336790103, 0.05309680794, 0.03386527682, 0.02194719886, 0.0126057721, 0.006854786899,
         0.004055615087, 0.00253940519, 0.001439180343, 0.0007494869207, 0.0004425990664,
         0.0002811586163, 0.499999999, 0.2890119853, 0.1956750025, 0.1440124544},
        {-0.05309185211, -0.02644584091, -0.01507736612, -0.008722912496, -0.004303212818,
         -0.001963928854, -0.0009934226358, -0.0005388794785, -0.0002556512314, -0.0001081107932,
         -5.384341137e-5, -2.950031682e-5, -0.3989419969, -0.208289225, -0.1304961526,
         -0.09008065511},
        {0.02468197271, 0.01091474642, 0.005619559381, 0.002929278758, 0.001254253925,
         0.0004852867393, 0.000211370536, 9.984689296e-5, 3.983796545e-5, 1.373934718e-5,
         5.78534184e-6, 2.738239417e-6, 0.2499868255, 0.1194183843, 0.06988597352, 0.04558589173},
        {-0.01002628359, -0.003974202471, -0.001863226012, -0.0008813964419, -0.0003303272978,
         -0.0001093453213, -4.126727135e-5, -1.70499633e-5, -5.751296412e-6, -1.62279624e-6,
         -5.791496681e-7, -2.371513636e-7, -0.1327546582, -0.0586472159, -0.03226737172,
         -0.0199984145},
        {0.003721004241, 0.001329932371, 0.0005707667332, 0.0002461669268, 8.268647048e-5,
         2.343523963e-5, 7.673702027e-6, 2.778420817e-6, 8.106961804e-7, 1.863039841e-7,
         5.614582536e-8, 1.984748131e-8, 0.06072058068, 0.0257096696, 0.01335901133, 0.00790268241},
        {-0.001244772596, -0.0004306167144, -0.0001622659851, -6.596831115e-5, -1.976462296e-5,
         -4.666183553e-6, -1.324230036e-6, -4.357268384e-7, -1.05130534e-7, -2.056856617e-8,
         -5.226503967e-9, -1.609416918e-9, -0.0199398343, -0.009936534398, -0.005284894673,
         -0.002892847765},
    };
    const T piece = a + T(1.0);
    const T h = a - lookup(kPieces[0], piece);
    T slope = lookup(kPieces[7], piece);
    for (int power = 6; power > 1; --power) slope = madd(slope, h, lookup(kPieces[power], piece));
    return ordered_sum(lookup(kPieces[1], piece), slope * h);
  }
};

// x·σ(u), u = √(8/π)·(x + 0.044715·x³), which is x/2·(1 + tanh(u/2)).
struct GELUTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kLinear = 1.5957691216057307118, kCubic = kLinear * 0.044715;
  static constexpr double kLinearHigh = 3268.0 / 2048;

  constexpr bool saves_result() const { return false; }

  template <class T>
  constexpr T value(T x) const {
    return over_one_plus_exp(x, minus_argument(x));  // −∞/∞ is NaN, as torch's
  }
  // σ + x·σ'·u'; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T e = exp_times(T(1.0), minus_argument(abs(x)));
    const T inverse = T(1.0) / (e + T(1.0));
    const T sigma = where(x < T(0.0), e * inverse, inverse);
    const T complement = where(x < T(0.0), inverse, e * inverse);
    const T c = clamped(x);
    const T argument_slope = madd(T(3.0 * kCubic) * c, c, T(kLinear));
    return madd(T(0.0), x, sigma * madd(argument_slope * complement, c, T(1.0)));
  }
  // σ'·(2u' + x(u'' + u'²(1 − 2σ)))
  template <class T>
  constexpr T curvature(T x) const {
    const T e = exp_times(T(1.0), minus_argument(abs(x)));
    const T inverse = T(1.0) / (e + T(1.0));
    const T one_minus_two_sigma = copysign((T(1.0) - e) * inverse, -x);
    const T c = clamped(x);
    const T argument_slope = madd(T(3.0 * kCubic) * c, c, T(kLinear));
    const T argument_curvature = T(6.0 * kCubic) * c;
    return e * inverse * inverse *
           (T(2.0) * argument_slope +
            c * (argument_curvature + argument_slope * argument_slope * one_minus_two_sigma));
  }

 private:
  // x up to where e^(−|u|) has underflowed.
  template <class T>
  static constexpr T clamped(T x) {
    const double limit = kIsFloat<T> ? 12.5 : 25.0;
    return at_most(at_least(x, -limit), limit);
  }
  // −u to twice the precision of T: an error in the exponent is a relative error of e^u.
  template <class T>
  static constexpr Pair<T> minus_argument(T x) {
    const T c = clamped(x);
    const auto square = exact_product(c, c);
    // v = −(1.59… + 0.071…·c²). The first constant has 12 bits, so that v + 1.59… is exact.
    const T v = madd(T(-kCubic), square.high, T(-kLinearHigh));
    const T v_error = fma(T(-kCubic), square.high, -(v + T(kLinearHigh)));
    const T v_low =
        madd(T(-kCubic), square.low, madd(T(-low_part<T>(kCubic)), square.high, v_error)) -
        T(kLinear - kLinearHigh);
    const auto product = exact_product(c, v);
    return {product.high, madd(c, v_low, product.low)};
  }
};

}  // namespace activations_ext
