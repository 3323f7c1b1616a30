// The CUDA kernels of mixtures on the host against the CPU's: every dtype and kind of scale, on
// component counts around a team's ends, rows apart or one for all, weights of 0, targets far away
// and NaN. Prints what differs, or "clean".
#include <cmath>
#include <limits>

#include "cuda_on_host.h"
// After the shim, whose names they use.
#include "cpu/mixture_rows.h"
#include "cuda/mixture_kernels.cu"
#include "cuda_against_cpu.h"

using namespace activations_ext;

namespace {

template <class S>
constexpr activations_ext::Number kNumber = [] {
  using enum activations_ext::Number;
  if (std::is_same_v<S, double>) return kDouble;
  if (std::is_same_v<S, float>) return kFloat;
  return std::is_same_v<S, cuda::Half> ? kHalf : kBFloat16;
}();

template <class T>
void same(const Array<T>& x, const Array<T>& expected, double precision, const char* what,
          const MixtureRows& job) {
  for (int64_t i = 0; i < x.size(); ++i) {
    const double a = double(x.number(i)), b = double(expected.number(i));
    const bool close = std::fabs(a - b) <= precision * (1 + std::fabs(b));
    if (close || a == b || (std::isnan(a) && std::isnan(b))) continue;
    expect(false, "%s of %d bytes, %ld × %ld × %ld, scale %d: %g at %ld, but on the CPU %g", what,
           int(sizeof(T)), long(job.rows), long(job.components), long(job.dimensions),
           int(job.scale_by), a, long(i), b);
    return;
  }
}

// `gap` elements between rows; −1: one row of parameters for all targets.
template <class S>
void compare(ScaleBy scale_by, int64_t rows, int64_t components, int64_t dimensions, int64_t gap) {
  using Number = cuda::StatisticNumber<S>;
  const int64_t each = components * dimensions;
  const auto numbers = [&](int64_t size, double deviation) {
    return drawn<S>(gap < 0 ? size : rows * (size + gap), deviation, 1);
  };
  const auto logits = numbers(components, 1.0), mean = numbers(each, 2.0),
             scale = numbers(each, 0.5);
  const auto target = drawn<S>(rows * dimensions, 2.0);
  if (scale_by == ScaleBy::kIdentity) {
    for (int64_t i = 0; i < scale.size(); ++i)
      scale[i] = cuda::rounded<S>(abs(cuda::widened(scale[i])) + cuda::Compute<S>(0.1));
  }
  const auto set = [](S& number, double x) { number = cuda::rounded<S>(cuda::Compute<S>(x)); };
  if (components > 1) set(logits[components / 2], -std::numeric_limits<double>::infinity());
  if (rows > 4) {
    set(target[1 * dimensions], 3e4);
    set(target[2 * dimensions], std::nan(""));
  }
  if (rows > 4 && gap >= 0) {
    set(scale[3 * (each + gap)], -30.0);
    set(logits[4 * (components + gap)], std::nan(""));
  }
  const auto at = [&](const Array<S>& array, int64_t size) {
    return Strided<const void*>{array.data(), gap < 0 ? 0 : size + gap};
  };
  const MixtureRows job = {.rows = rows,
                           .components = components,
                           .dimensions = dimensions,
                           .logits = at(logits, components),
                           .mean = at(mean, each),
                           .scale = at(scale, each),
                           .target = {target.data(), dimensions},
                           .scale_by = scale_by,
                           .floor = 1e-3};
  cpu::MixtureKernels on_cpu[kNumbers];
  cpu::fill_table<typename OnCpu<S>::type>(on_cpu, kNumber<S>);
  const auto& cpus = on_cpu[int(kNumber<S>)];
  const auto& ours = cuda::mixture_kernels(kNumber<S>);
  const double precision = sizeof(S) == 8 ? 1e-12 : 1e-4;
  Array<Number> nll(rows), expected(rows), grad(rows);
  for (int64_t r = 0; r < rows; ++r) grad[r] = Number(r % 3) - Number(0.5);
  ours.forward(job, nll.data(), nullptr);
  cpus.forward(job, expected.data(), 0, rows);
  same(nll, expected, precision, "loss", job);

  struct Gradient {
    Array<S> logits, mean, scale;
    Gradient(int64_t rows, int64_t components, int64_t each)
        : logits(rows * components), mean(rows * each), scale(rows * each) {}
    MixtureGradient memory(const Array<Number>& grad) const {
      return {grad.data(), logits.data(), mean.data(), scale.data()};
    }
  } x(rows, components, each), y(rows, components, each);
  ours.backward(job, x.memory(grad), nullptr);
  cpus.backward(job, y.memory(grad), 0, rows);
  const double rounding = sizeof(S) > 2 ? 10 * precision : 0x1p-6;
  same(x.logits, y.logits, rounding, "gradient of the logits", job);
  same(x.mean, y.mean, rounding, "gradient of the means", job);
  same(x.scale, y.scale, rounding, "gradient of the scales", job);
}

}  // namespace

int main() {
  for (const auto scale_by :
       {ScaleBy::kExp, ScaleBy::kSoftplus, ScaleBy::kElu, ScaleBy::kIdentity}) {
    for (const int64_t components : {3, 9}) {
      for (const int64_t gap : {-1, 0, 3}) {
        compare<float>(scale_by, 33, components, 4, gap);
        compare<cuda::BFloat16>(scale_by, 17, components, 1, gap);
      }
    }
    for (const int64_t components : {1, 8, 40}) {
      compare<float>(scale_by, 9, components, 2, 3);
      compare<double>(scale_by, 5, components, 3, 0);
      compare<cuda::Half>(scale_by, 5, components, 2, 1);
    }
  }
  return verdict();
}
