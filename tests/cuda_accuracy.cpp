// The formulas on the GPU's number types, with the host's functions in the place of the device's,
// against double: 16-bit results of all 65,536 inputs, float's of every exponent. Prints what is
// further off than it may be, or "clean".
#include <bit>
#include <cmath>
#include <limits>

#include "cuda_on_host.h"
// After the shim, whose names they use.
#include "cuda/pointwise_sweep.cuh"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Where an exponential underflows, its digits are lost before they are multiplied by the factor.
constexpr double kLeast = 1e-35;

// The distance of numbers of S at y.
template <class S>
double ulp(double y) {
  constexpr bool kHalf = std::is_same_v<S, cuda::Half>;
  constexpr int kDigits = sizeof(S) == 4 ? 24 : kHalf ? 11 : 8, kLeast = kHalf ? -13 : -125;
  int exponent;
  std::frexp(y, &exponent);
  return std::ldexp(1.0, std::max(exponent, kLeast) - kDigits);
}

// check(x, what, computed, exact, ULP of which number)
template <class S, class A, class Check>
void of_number(const A& f, S x, Check check) {
  const double number = double(cuda::widened(x));
  const auto computed = [&]<Pass kPass>() {
    const cuda::Compute<S> one(1.0);
    return double(cuda::widened(cuda::rounded<S>(
        evaluate<kPass>(f, kPass == Pass::kForward ? cuda::widened(x) : one, cuda::widened(x)))));
  };
  check(number, "value", computed.template operator()<Pass::kForward>(), f.value(number), 0.0);
  if constexpr (kFromInput<A>)
    check(number, "slope", computed.template operator()<Pass::kBackward>(), f.slope(number), 1.0);
}

template <class S, class Bits, class A>
void accurate(const A& f, uint64_t step, double limit) {
  const auto check = [&](double x, const char* what, double computed, double exact, double least) {
    if (std::isnan(computed) && std::isnan(exact)) return;
    const double off =
        std::fabs(computed - exact) / ulp<S>(std::max(std::fabs(exact), std::max(least, kLeast)));
    const double largest = double(cuda::widened(cuda::rounded<S>(cuda::Compute<S>(kInfinity))));
    const bool overflows =
        computed == std::copysign(largest, exact) &&
        std::fabs(exact) > (sizeof(S) == 2 && ulp<S>(0.0) > 1e-10 ? 65504 : 3e38);
    expect(off <= limit || overflows || computed == exact,
           "%s of %d bytes: the %s of %g is %g, but %g is exact", A::kName, int(sizeof(S)), what, x,
           computed, exact);
  };
  for (uint64_t bits = 0; bits <= std::numeric_limits<Bits>::max(); bits += step)
    of_number(f, std::bit_cast<S>(Bits(bits)), check);
}

// The sign of 0 is kept where the formula in double keeps it.
template <class S, class A>
void signed_zeros(const A& f) {
  const auto check = [&](double x, const char* what, double computed, double exact, double) {
    expect(std::signbit(computed) == std::signbit(exact), "%s of %d bytes: the %s of %g is %g",
           A::kName, int(sizeof(S)), what, x, computed);
  };
  for (const double zero : {0.0, -0.0})
    of_number(f, cuda::rounded<S>(cuda::Compute<S>(zero)), check);
}

template <class A>
void everywhere(const A& f, double float_limit = 4.0) {
  accurate<float, uint32_t>(f, 20011, float_limit);
  accurate<cuda::BFloat16, uint16_t>(f, 1, 0.6);
  accurate<cuda::Half, uint16_t>(f, 1, 0.7);
  signed_zeros<float>(f);
  signed_zeros<cuda::BFloat16>(f);
  signed_zeros<cuda::Half>(f);
}

}  // namespace

int main() {
  everywhere(ReLU{});
  everywhere(Exp{});
  everywhere(Sigmoid{});
  everywhere(LogSigmoid{});
  everywhere(Tanh{});
  everywhere(Tanhshrink{});
  everywhere(Softplus{1.0, 20.0});
  everywhere(ELU(1.0));
  everywhere(SELU{});
  everywhere(CELU(1.5));
  everywhere(SERLU{});
  everywhere(SiLU{});
  everywhere(Mish{});
  everywhere(GELU{});
  everywhere(GELUTanh{});
  everywhere(Softsign{});
  everywhere(SquaredReLU{});
  everywhere(Hardswish{});
  return verdict();
}
