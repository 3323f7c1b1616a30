// The functions of math.h and sigmoidal.h on vectors of float against the C library's in double: a
// line for each with its range and the largest error in ULP that it may have there. Prints what is
// further off, or "accurate"; with any argument, all errors.
#include <cmath>
#include <cstdio>
#include <vector>

#include "simd/vec.h"
#include "math/sigmoidal.h"
#if defined(__AVX2__)
#include "simd/exp_by_steps.h"
#endif

using namespace activations_ext;
using V = cpu::Vec<float>;

namespace {

struct Row {
  const char* name;
  double lower, upper, limit;
  V (*ours)(V x);
  double (*exact)(double x);
};

const Row kRows[] = {
    {"exp", -160, 160, 1.05, [](V x) { return exp(x); }, [](double x) { return std::exp(x); }},
#if defined(__AVX2__)
    {"exp by steps", -87, 87, 0.6, [](V x) { return value_of(Exp{}, x); },
     [](double x) { return std::exp(x); }},
    {"exp by steps, everywhere", -160, 160, 0.9, [](V x) { return value_of(Exp{}, x); },
     [](double x) { return std::exp(x); }},
#endif
    {"exp_times, 3", -160, 89, 1.1, [](V x) { return exp_times(V(3.0), x); },
     [](double x) { return 3 * std::exp(x); }},
    {"exp_in_parts", -87, 88, 1.05, [](V x) { return sum(exp_in_parts(x)); },
     [](double x) { return std::exp(x); }},
    {"decay", 0, 160, 1.05, [](V x) { return decay(x); }, [](double x) { return std::exp(-x); }},
    {"scaled_exp", -131, 16, 1.05, [](V x) { return scaled_exp(x) * V(0x1p-64); },
     [](double x) { return std::exp(x); }},
    {"share", -87.3, 0, 1.05, [](V x) { return share(x); }, [](double x) { return std::exp(x); }},
    {"expm1_times, 3", -160, 0, 1.6, [](V x) { return expm1_times(V(3.0), x); },
     [](double x) { return 3 * std::expm1(x); }},
    {"exp_times, width 0.7", -200, 62, 1.25, [](V x) { return exp_times(V(1.0), x, 0.7); },
     [](double x) { return std::exp(x / 0.7); }},
    {"expm1_times, width 0.7", -200, 0, 1.5, [](V x) { return expm1_times(V(1.0), x, 0.7); },
     [](double x) { return 0.7 * std::expm1(x / 0.7); }},
    {"expm1_times, width -3", 0, 200, 1.5, [](V x) { return expm1_times(V(1.0), x, -3); },
     [](double x) { return -3 * std::expm1(x / -3); }},
    {"over_one_plus_exp", -200, 200, 2, [](V x) { return over_one_plus_exp(V(1.0), x); },
     [](double x) { return 1 / (1 + std::exp(x)); }},
    {"log1p_unit", -0.5, 1, 1.25, [](V x) { return log1p_unit(x); },
     [](double x) { return std::log1p(x); }},
    {"log", 1.2e-38, 3.4e38, 0.9, [](V x) { return log(x); }, [](double x) { return std::log(x); }},
    {"exp_minus_half_square_times", 0, 17, 1.05,
     [](V x) { return exp_minus_half_square_times(V(1.0), x); },
     [](double x) { return std::exp(-0.5 * x * x); }},
    {"logistic", -200, 200, 2, [](V x) { return logistic(x); },
     [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"logistic_slope", -103, 103, 4.9, [](V x) { return logistic_slope(x); },
     [](double x) {
       const double e = std::exp(-std::fabs(x));
       return e / ((1 + e) * (1 + e));
     }},
    {"log1p_exp", -103, 200, 1.75, [](V x) { return log1p_exp(x); },
     [](double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }},
};

double ulp(double y) {
  int exponent;
  std::frexp(y, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

// Both ends, numbers of every exponent, and as many at equal distances.
std::vector<float> inputs(const Row& row) {
  std::vector<float> all = {float(row.lower), float(row.upper)};
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 5003) {
    const auto x = std::bit_cast<float>(uint32_t(bits));
    if (x >= row.lower && x <= row.upper) all.push_back(x);
  }
  constexpr int kSteps = 1'000'003;
  for (int i = 0; i < kSteps; ++i)
    all.push_back(float(row.lower + (row.upper - row.lower) * i / kSteps));
  return all;
}

struct Worst {
  double error = 0.0;
  float at = 0.0f;
};

Worst worst_of(const Row& row) {
  Worst worst;
  for (const float x : inputs(row)) {
    const double y = row.ours(V(double(x))).native[0], exact = row.exact(x);
    const bool infinite = std::isinf(float(exact));
    const double error =
        infinite ? (std::isinf(y) ? 0.0 : INFINITY) : std::fabs(y - exact) / ulp(exact);
    if (!(error <= worst.error)) worst = {error, x};
  }
  return worst;
}

}  // namespace

int main(int argc, char**) {
  bool accurate = true;
  for (const Row& row : kRows) {
    const Worst worst = worst_of(row);
    if (argc == 1 && worst.error <= row.limit) continue;
    accurate = accurate && worst.error <= row.limit;
    std::printf("%-28s [%g, %g] %.3f ULP at %.9g, at most %.2f\n", row.name, row.lower, row.upper,
                worst.error, worst.at, row.limit);
  }
  if (accurate) std::puts("accurate");
  return accurate ? 0 : 1;
}
