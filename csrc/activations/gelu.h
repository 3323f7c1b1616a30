#pragma once

#include "../activation.h"
#include "../sigmoidal.h"

namespace activations_ext {

// x·Φ(x), Φ the standard normal distribution function: Hendrycks and Gimpel, arXiv:1606.08415.
// All of it comes from Φ(−|x|), which keeps its relative accuracy in the tail.
struct GELU {
  static constexpr const char* kName = "gelu";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};

  template <class T>
  constexpr T value(T x) const {
    return gated(x, tail(clamped(x)));
  }
  // Φ(x) + x·φ(x), which is 1 less its value at −x; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T a = clamped(x);
    const T tail = slope_tail(a);
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
  // a·Φ(−a)
  template <class T>
  static constexpr T tail(T a) {
    if constexpr (kIsFloat<T>) {
      constexpr Table kPieces[] = {
          {0.0, 0.3701171875, 0.6259765625, 0.884765625, 1.114257813, 1.368164063, 1.634765625,
           1.876953125, 2.120117188, 2.375, 2.62109375, 2.869140625, 3.135742188, 3.374023438,
           3.630859375},
          {0.0, 0.1316312844, 0.1663001619, 0.1664611558, 0.1477330927, 0.1171563872, 0.08345330561,
           0.05680084234, 0.0360379255, 0.02083937813, 0.01148670144, 0.005904530059,
           0.002687641828, 0.001249705549, 0.0005128209114},
          {0.4999999797, 0.2177670316, 0.06036952281, -0.05050397223, -0.106357489, -0.1284496773,
           -0.1203658012, -0.09837416616, -0.07237680238, -0.04768379211, -0.0293123524,
           -0.01661070361, -0.008306536679, -0.004169512508, -0.001845939683},
          {-0.3989383582, -0.3470153779, -0.2637054288, -0.1641552788, -0.08131972818,
           -0.01002495486, 0.03525520407, 0.05218747618, 0.05258713485, 0.04327255447, 0.0313035546,
           0.0202749177, 0.01144514391, 0.00631333257, 0.003060264803},
          {-0.0001229378139, 0.08877272982, 0.1234554927, 0.1279646718, 0.1098432701, 0.07592708777,
           0.03792955681, 0.01022796042, -0.007370726835, -0.0154370933, -0.01611684606,
           -0.01316656081, -0.008908732926, -0.005587141891, -0.003041439885},
          {0.06785061171, 0.04735898062, 0.01927189408, -0.009638425206, -0.02799722708,
           -0.03636897568, -0.03297636719, -0.02354192271, -0.01278025197, -0.00367883093,
           0.001624843277, 0.003809079958, 0.003868336759, 0.00302075102, 0.001952966233},
          {-0.006190535018, -0.01897588052, -0.0235856322, -0.02008793073, -0.01123232168,
           -0.001362980615, 0.005864132688, 0.008898388082, 0.008291154185, 0.005716026991,
           0.002845859824, 0.0006932481695, -0.0004698896157, -0.0008432478596, -0.0007738606516}};
      return piecewise(kPieces, 0.25, 3.75, a, [a] { return far_tail(a); });
    } else {
      return a * upper_tail(a);
    }
  }
  // Φ(−a) − a·φ(a)
  template <class T>
  static constexpr T slope_tail(T a) {
    if constexpr (kIsFloat<T>) {
      constexpr Table kPieces[] = {
          {0.1181640625, 0.3857421875, 0.63671875, 0.8759765625, 1.131835938, 1.373046875, 1.625,
           1.87109375, 2.127929688, 2.364257813, 2.625976563, 2.866210938, 3.115234375, 3.375976563,
           3.626953125},
          {0.4061561527, 0.2069885161, 0.05474680864, -0.04758874939, -0.1091151682, -0.1285421707,
           -0.1210434077, -0.09898466725, -0.07155650183, -0.04861879344, -0.02900780341,
           -0.01672983704, -0.008787338464, -0.00414491477, -0.001869987882},
          {-0.786802024, -0.6855722779, -0.5194276623, -0.3350661233, -0.1511576695, -0.01783426361,
           0.06825107375, 0.104005813, 0.1048191398, 0.08753441661, 0.06213493366, 0.04078142178,
           0.02400598012, 0.01256131027, 0.006192204092},
          {0.09329760606, 0.2750796355, 0.3727691633, 0.3848633138, 0.3235094359, 0.2256557204,
           0.1176722905, 0.0323497198, -0.02329520155, -0.04582496001, -0.04825488243,
           -0.03963749317, -0.02768605671, -0.01669082054, -0.009216090323},
          {0.2576606424, 0.1839785055, 0.07202551149, -0.03544431093, -0.116553236, -0.1461681951,
           -0.1333754372, -0.09527104492, -0.04970728567, -0.01578123913, 0.006940403362,
           0.01528935941, 0.01570587436, 0.01205646348, 0.007861075742},
          {-0.0346410362, -0.09706329096, -0.1179457367, -0.1003496405, -0.05497583275,
           -0.0074343508, 0.02911387139, 0.04435740623, 0.04143821776, 0.02938981665, 0.01435454319,
           0.00388370361, -0.002147808517, -0.00420833199, -0.003878928447},
          {-0.05635775102, -0.03386999351, -0.0005804375201, 0.02703200566, 0.04026651545,
           0.03603053007, 0.02081293648, 0.003994894445, -0.007575511443, -0.0118074706,
           -0.01047894468, -0.00666007806, -0.002900335719, -0.0004092576779, 0.0007272548489}};
      return piecewise(kPieces, 0.25, 3.75, a, [a] {
        return exp_minus_half_square_times(madd(T(-kPeak), a, mills_ratio(a)), a);
      });
    } else {
      return upper_tail(a) - exp_minus_half_square_times(T(kPeak) * a, a);
    }
  }
  // a·Φ(−a) for 3.75 ≤ a < 15: e^(−a²/2) times a·m(a), which is a polynomial of 1/a².
  template <class T>
  static constexpr T far_tail(T a) {
    constexpr double kLimit = 0.3989422703;  // nearly φ(0)
    const T s = T(1.0) / (a * a);
    const T rest = s * polynomial(s, -0.398937533, 1.19598858, -5.908886569, 37.96269384,
                                  -247.3749666, 1215.963423, -2997.688457);
    const auto factor = ordered_sum(T(kLimit), rest);
    return exp_minus_half_square_times(Pair<T>{factor.high, factor.low + T(low_part<T>(kLimit))},
                                       a);
  }
};

// x·σ(u), u = √(8/π)·(x + 0.044715·x³), which is x/2·(1 + tanh(u/2)).
struct GELUTanh {
  static constexpr const char* kName = "gelu_tanh";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  static constexpr double kLinear = 1.5957691216057307118, kCubic = kLinear * 0.044715;
  static constexpr double kLinearHigh = 3268.0 / 2048;

  template <class T>
  constexpr T value(T x) const {
    return gated(x, tail(abs(clamped(x))));
  }
  // σ + x·σ'·u'; NaN at ±∞, as torch's.
  template <class T>
  constexpr T slope(T x) const {
    const T e = exp_times(T(1.0), minus_argument(abs(x)));
    const T inverse = T(1.0) / (e + T(1.0));
    const T tail = e * inverse;  // σ(−|u|)
    const T sigma = where(x < T(0.0), tail, inverse);
    const T c = clamped(x);
    const T argument_slope = madd(T(3.0 * kCubic) * c, c, T(kLinear));
    return madd(T(0.0), x, madd(argument_slope * c * tail, inverse, sigma));
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
  // a·σ(−u)
  template <class T>
  static constexpr T tail(T a) {
    const auto far = [a] { return over_one_plus_exp(a, -minus_argument(a)); };
    if constexpr (kIsFloat<T>) {
      constexpr Table kPieces[] = {
          {0.0, 0.375, 0.6181640625, 0.8779296875, 1.127929688, 1.376953125, 1.635742188,
           1.874023438, 2.125976563, 2.375976563, 2.6171875, 2.865234375, 3.129882813, 3.373046875},
          {0.0, 0.1326922324, 0.1658488658, 0.1669084286, 0.1464588053, 0.1162602534, 0.08350358194,
           0.05709807211, 0.03540945412, 0.02040834515, 0.01113392399, 0.005516775816,
           0.002376482291, 0.0010023139},
          {0.4999999793, 0.214444316, 0.06471489468, -0.04789760168, -0.1082269467, -0.1286291967,
           -0.1207867525, -0.09948875054, -0.07259742982, -0.04814845793, -0.02969333621,
           -0.01653752225, -0.008009875562, -0.003742249415},
          {-0.3989382723, -0.345493909, -0.2662529335, -0.1666448197, -0.07721885887,
           -0.008882385114, 0.03449562213, 0.05169106401, 0.05275204128, 0.0440157841,
           0.03235007013, 0.0210144344, 0.01177400753, 0.006216096279},
          {-0.0001256454477, 0.08996908053, 0.1228416853, 0.127698691, 0.1075357859, 0.07424223189,
           0.03815359555, 0.01138449584, -0.006792550958, -0.0150673462, -0.01631634287,
           -0.01372706853, -0.009485738688, -0.005879972311},
          {0.06820988506, 0.04681863369, 0.01974290597, -0.009400360812, -0.02871880969,
           -0.03581468984, -0.0322210292, -0.02336635354, -0.01283421729, -0.004252219882,
           0.001079103865, 0.003642279438, 0.004030317084, 0.003262885117},
          {-0.006329342723, -0.01932581152, -0.02379062633, -0.01986626681, -0.01072780476,
           -0.001033416723, 0.005711837497, 0.008414212127, 0.007886032643, 0.005654695575,
           0.003071696717, 0.0009720468369, -0.000318366328, -0.0008448929654}};
      return piecewise(kPieces, 0.25, 3.5, a, far);
    } else {
      return far();
    }
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
