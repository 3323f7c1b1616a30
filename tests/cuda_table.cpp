// Every kernel of the CUDA table on the host, against the CPU's for this machine's baseline: all
// activations, passes and dtypes, with the grids that a GPU would get, on awkward sizes and starts
// and on infinities, zeros and NaN. Prints what differs, or "clean".
#include <array>
#include <cmath>
#include <limits>

#include "cuda_on_host.h"
// After the shim, whose names they use.
#include "cpu/pointwise_sweep.h"
#include "cpu/random_sweep.h"
#include "cuda/pointwise_kernels.cu"
#include "cuda_against_cpu.h"

using namespace activations_ext;

namespace {

// Parameters that suit all: 0.5, 1.5.
template <class A>
A example() {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return A{(double(I) + 0.5)...};
  }(std::make_index_sequence<kArity<A>>());
}

// Both round after a few ULP of float; of what cancels, a few ULP of the inputs.
template <class S>
bool close(double x, double expected, double scale) {
  if (std::isnan(expected) || std::isinf(expected))
    return std::isnan(x) == std::isnan(expected) && !std::isfinite(x);
  constexpr bool kHalf = std::is_same_v<S, cuda::Half>;
  constexpr double kPrecision = sizeof(S) == 8   ? 2e-15
                                : sizeof(S) == 4 ? 1e-6
                                : kHalf          ? 0x1p-10
                                                 : 0x1p-7;
  const double subnormal = kHalf ? 0x1p-24 : 1e-37;
  return std::fabs(x - expected) <= kPrecision * (std::fabs(expected) + scale) + subnormal;
}

constexpr double kSpecial[] = {0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 3.0, -3.0, 6.0, 200.0, -200.0};

template <class S>
Array<S> inputs(int64_t count, int offset) {
  auto numbers = drawn<S>(count, 3.0, offset);
  for (int64_t i = 0; i < count && i < 11; ++i)
    numbers[i] = cuda::rounded<S>(cuda::Compute<S>(kSpecial[i]));
  const double infinite = std::numeric_limits<double>::infinity();
  for (int64_t i = 11; i < count && i < 14; ++i)
    numbers[i] = cuda::rounded<S>(cuda::Compute<S>(i == 11   ? infinite
                                                   : i == 12 ? -infinite
                                                             : std::nan("")));
  return numbers;
}

// As the CPU's kernels take them.
template <class... Arrays>
std::array<char*, sizeof...(Arrays)> operands(const Arrays&... arrays) {
  return {reinterpret_cast<char*>(const_cast<void*>(static_cast<const void*>(arrays.read())))...};
}

template <class S>
void every_activation(Number number) {
  static cpu::KernelTable on_cpu = {};
  cpu::fill_table<typename OnCpu<S>::type>(on_cpu.pointwise, number);
  Activations::for_each([&]<Activation A>() {
    const A f = example<A>();
    const int index = Activations::index_of<A>();
    const auto compare = [&]<Pass kPass>() {
      for (const int64_t count : {1, 14, 300, 4099}) {
        const int offset = int(count % 3);
        const auto a = drawn<S>(count, 1.0, offset), b = inputs<S>(count, offset);
        const auto& first = kPass == Pass::kForward ? b : a;
        Array<S> out(count, offset), expected(count, offset);
        cuda::kernels().pointwise[index][int(number)][int(kPass)](&f, out.data(), first.read(),
                                                                  b.read(), {}, count, nullptr);
        on_cpu.pointwise[index][int(number)][int(kPass)](&f, operands(expected, first, b).data(),
                                                         count, false);
        for (int64_t i = 0; i < count; ++i)
          expect(close<S>(double(out.number(i)), double(expected.number(i)),
                          kPass == Pass::kForward ? 0 : std::fabs(double(a.number(i)))),
                 "%s, pass %d, %d bytes: of (%g, %g) %g, but on the CPU %g", A::kName, int(kPass),
                 int(sizeof(S)), double(first.number(i)), double(b.number(i)),
                 double(out.number(i)), double(expected.number(i)));
      }
    };
    for_each_pass<A>(compare);
  });
}

template <class S>
void every_random_activation(Number number) {
  static cpu::KernelTable on_cpu = {};
  cpu::fill_table<typename OnCpu<S>::type>(on_cpu.random, number);
  RandomActivations::for_each([&]<class A>() {
    const A f = example<A>();
    const int index = RandomActivations::index_of<A>();
    for (const int64_t count : {1, 257, 1023, 1024, 3333})
      for (const int64_t seed : {int64_t(0), int64_t(-1), int64_t(0x123456789abcdef)}) {
        const int offset = int(count % 3);
        const auto a = drawn<S>(count, 3.0, offset), gate = drawn<S>(count, 3.0, offset);
        Array<S> out(count, offset), expected(count, offset);
        Array<int64_t> device_seed(1);
        device_seed[0] = seed;
        cuda::kernels().random[index][int(number)](&f, out.data(), a.read(), gate.read(),
                                                   device_seed.read(), count, nullptr);
        on_cpu.random[index][int(number)](&f, operands(expected, a, gate).data(), uint64_t(seed), 0,
                                          count);
        for (int64_t i = 0; i < count; ++i)
          expect(close<S>(double(out.number(i)), double(expected.number(i)), 1.0),
                 "%s, %d bytes, seed %ld: element %ld of %ld is %g, but on the CPU %g", A::kName,
                 int(sizeof(S)), long(seed), long(i), long(count), double(out.number(i)),
                 double(expected.number(i)));
      }
  });
}

template <class S>
void everything(Number number) {
  every_activation<S>(number);
  every_random_activation<S>(number);
}

}  // namespace

int main() {
  everything<float>(Number::kFloat);
  everything<double>(Number::kDouble);
  everything<cuda::BFloat16>(Number::kBFloat16);
  everything<cuda::Half>(Number::kHalf);
  return verdict();
}
