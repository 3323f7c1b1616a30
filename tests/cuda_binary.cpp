// The CUDA kernels of binary cross-entropy on the host, against the formula in float64: losses, sum
// and gradient, with every choice of weights, on awkward sizes and starts, broadcast weights,
// infinities and NaN. Prints what differs, or "clean".
#include <cmath>
#include <limits>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names it uses.
#include "cuda/binary_kernels.cu"
#include "cuda_arrays.h"

using namespace activations_ext;

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

struct Case {
  int64_t rows, classes;
  int offset;
  bool pos_weight, weight, of_classes;  // the weights have one number for each class
  double gamma;
};

template <class S>
class Numbers {
 public:
  explicit Numbers(const Case& of) : of_(of), offset_(of.offset) {
    for (int64_t i = 0; i < count() && i < 6; ++i) {
      constexpr double kSpecial[] = {0.0, 40.0, -40.0, kInfinite, -kInfinite, NAN};
      logits[i] = cuda::rounded<S>(cuda::Compute<S>(kSpecial[i]));
    }
    for (int64_t i = 0; i < count(); ++i)
      target[i] = cuda::rounded<S>(cuda::Compute<S>(i % 3 == 0 ? 0.25 : i % 3 - 1));
  }

  int64_t count() const { return of_.rows * of_.classes; }

  cuda::BinaryJob job(const S* grad_output) const {
    cuda::BinaryJob job = {
        .count = count(), .weights = of_.pos_weight + of_.weight, .positive = of_.pos_weight, .gamma = of_.gamma};
    int inputs = 0;
    const bool walks = of_.of_classes && job.weights > 0;
    if (walks) job.walk = cuda::Walk(std::vector<int64_t>{of_.classes, of_.rows});
    const auto add = [&](const S* data, bool of_classes) {
      job.walk.strides[inputs][0] = 1;
      job.walk.strides[inputs][1] = of_classes ? 0 : of_.classes;
      job.inputs[inputs++] = data;
    };
    if (grad_output != nullptr) add(grad_output, false);
    add(logits.read(), false);
    add(target.read(), false);
    if (of_.pos_weight) add(pos_weight.read(), walks);
    if (of_.weight) add(weight.read(), walks);
    return job;
  }

  // f(x, target, pos_weight, weight) of element i in float64.
  template <class F>
  double of(int64_t i, F f) const {
    const int64_t at = of_.of_classes ? i % of_.classes : i;
    return f(double(logits.number(i)), double(target.number(i)),
             of_.pos_weight ? double(pos_weight.number(at)) : 1.0,
             of_.weight ? double(weight.number(at)) : 1.0);
  }
  double loss(int64_t i) const {
    return of(i, [&](auto... x) {
      if (of_.gamma == 0) return BinaryCrossEntropy().value<double>(x...);
      return FocalBinaryCrossEntropy{of_.gamma}.value<double>(x...);
    });
  }
  double slope(int64_t i) const {
    return of(i, [&](auto... x) {
      if (of_.gamma == 0) return BinaryCrossEntropy().slope<double>(x...);
      return FocalBinaryCrossEntropy{of_.gamma}.slope<double>(x...);
    });
  }

 private:
  Case of_;
  int offset_;

 public:
  Array<S> logits = drawn<S>(count(), 3.0, offset_), target = drawn<S>(count(), 1.0, offset_),
           pos_weight = drawn<S>(count(), 1.0, offset_), weight = drawn<S>(count(), 1.0, offset_);
};

template <class S>
constexpr double kPrecision = sizeof(S) == 8                  ? 1e-14
                              : sizeof(S) == 4                ? 1e-6
                              : std::is_same_v<S, cuda::Half> ? 0x1p-10
                                                              : 0x1p-7;

template <class S>
void close(const char* what, const Case& of, int64_t i, S found, double expected, double scale) {
  const double x = double(cuda::widened(found));
  const bool same = x == expected || (std::isnan(x) && std::isnan(expected)) ||
                    std::fabs(x - expected) <= kPrecision<S> * (std::fabs(expected) + scale);
  expect(same, "%s of %d bytes, %ld × %ld from %d, weights %d%d%d: %g at %ld, not %g", what,
         int(sizeof(S)), long(of.rows), long(of.classes), of.offset, of.pos_weight, of.weight,
         of.of_classes, x, long(i), expected);
}

template <class S>
void compare(activations_ext::Number number, const Case& of) {
  Numbers<S> numbers(of);
  const int64_t count = numbers.count();
  const cuda::BinaryKernels& kernels = cuda::binary_kernels(number, of.gamma != 0);
  Array<S> out(count, of.offset), one(1);
  kernels.losses(numbers.job(nullptr), out.data(), nullptr);
  for (int64_t i = 0; i < count; ++i) close("loss", of, i, out[i], numbers.loss(i), 1.0);

  const auto grad_output = drawn<S>(count, 1.0, of.offset);
  kernels.gradient(numbers.job(grad_output.read()), out.data(), nullptr, 0.5, nullptr);
  for (int64_t i = 0; i < count; ++i)
    close("gradient of each", of, i, out[i], 0.5 * double(grad_output.number(i)) * numbers.slope(i),
          1.0);
  kernels.gradient(numbers.job(nullptr), out.data(), grad_output.read(), 0.5, nullptr);
  for (int64_t i = 0; i < count; ++i)
    close("gradient", of, i, out[i], 0.5 * double(grad_output.number(0)) * numbers.slope(i), 1.0);

  // Infinite losses and NaN would hide what is left out.
  for (int64_t i = 3; i < count && i < 6; ++i) numbers.logits[i] = numbers.logits[0];
  double sum = 0, size = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += numbers.loss(i);
    size += std::fabs(numbers.loss(i));
  }
  Array<double> partial(cuda::binary_parts(count));
  kernels.sum(numbers.job(nullptr), one.data(), partial.data(), 3.0, nullptr);
  close("sum", of, 0, one[0], sum / 3.0, size / 10.0);
}

template <class S>
void every_choice(activations_ext::Number number) {
  constexpr int64_t kShapes[][2] = {{1, 1}, {1, 7}, {9, 8}, {5, 33}, {130, 64}};
  for (const auto& [rows, classes] : kShapes)
    for (const int offset : {0, 1, 3})
      for (const int weights : {0, 1, 2, 3})
        for (const bool of_classes : {false, true})
          for (const double gamma : {0.0, 2.0, 0.7})
            compare<S>(number, {rows, classes, offset, (weights & 1) != 0, (weights & 2) != 0,
                                of_classes, gamma});
}

}  // namespace

int main() {
  every_choice<float>(activations_ext::Number::kFloat);
  every_choice<double>(activations_ext::Number::kDouble);
  every_choice<cuda::BFloat16>(activations_ext::Number::kBFloat16);
  every_choice<cuda::Half>(activations_ext::Number::kHalf);
  return verdict();
}
