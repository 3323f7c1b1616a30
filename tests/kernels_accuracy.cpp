// The float kernels against the same formulas in double, over numbers of every exponent. Needs no
// torch, so that it runs wherever a cross compiler and an emulator go: prints a line for what is
// further off than it may be, or "accurate".
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cpu/pointwise_sweep.h"

using namespace activations_ext;

namespace {

constexpr uint32_t kStep = 20011;  // of the bit patterns, about 215,000 of them
bool accurate = true;

double ulp(double y) {
  int exponent;
  std::frexp(y, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

std::vector<float> inputs() {
  std::vector<float> all;
  for (uint64_t bits = 0; bits <= UINT32_MAX; bits += kStep)
    all.push_back(std::bit_cast<float>(uint32_t(bits)));
  return all;
}

// ULP of the value, or of `floor` where that is larger.
void compare(const char* name, const char* what, const std::vector<float>& x,
             const std::vector<float>& y, const std::vector<double>& exact, double limit,
             double floor) {
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double error = std::fabs(y[i] - exact[i]) / ulp(std::max(std::fabs(exact[i]), floor));
    if (std::isnan(exact[i]) || std::isinf(float(exact[i])))
      error = std::isnan(y[i]) == std::isnan(exact[i]) && !std::isfinite(y[i]) ? 0 : INFINITY;
    if (!(error <= worst)) worst = error, at = i;
  }
  if (worst <= limit) return;
  accurate = false;
  std::printf("%s's %s: %.2f ULP at %.9g, %.9g instead of %.9g\n", name, what, worst, x[at], y[at],
              exact[at]);
}

template <class A>
void check(const A& f, double limit = 2.0) {
  const std::vector<float> x = inputs(), ones(x.size(), 1.0f);
  std::vector<float> y(x.size());
  std::vector<double> exact(x.size());
  const auto sweep = [&]<Pass kPass>(const std::vector<float>& a, auto reference) {
    const auto bytes = [](const std::vector<float>& of) {
      return reinterpret_cast<char*>(const_cast<float*>(of.data()));
    };
    char* const operands[] = {bytes(y), bytes(a), bytes(x)};
    cpu::pointwise<A, float, kPass>(&f, operands, int64_t(x.size()), false);
    std::transform(x.begin(), x.end(), exact.begin(), reference);
  };
  sweep.template operator()<Pass::kForward>(x, [&](double v) { return f.value(v); });
  compare(A::kName, "value", x, y, exact, limit, 0.0);
  if constexpr (kFromInput<A>) {
    sweep.template operator()<Pass::kBackward>(ones, [&](double v) { return f.slope(v); });
    compare(A::kName, "slope", x, y, exact, 4.0, 1.0);
  }
}

}  // namespace

int main() {
  check(ReLU{}, 0.0);
  check(Exp{});
  check(Sigmoid{});
  check(LogSigmoid{});
  check(Tanh{});
  check(Tanhshrink{});
  check(Softplus{1.0, 20.0});
  check(ELU(1.0));
  check(SELU{});
  check(CELU(1.0));
  check(SERLU{}, 2.2);
  check(GELU{}, 2.7);
  check(GELUTanh{});
  check(SiLU{});
  check(Mish{});
  if (accurate) std::puts("accurate");
  return accurate ? 0 : 1;
}
