// The row kernels on arrays of exactly the size that they may touch, with every kind of wrong
// class. test_sanitized.py compiles it with the sanitizers, and runs it.
#include <cstdio>
#include <limits>
#include <memory>

#include "cpu/divergence_rows.h"
#include "cpu/softmax_rows.h"
#include "cpu/statistics_rows.h"

using namespace activations_ext;
using namespace activations_ext::cpu;

namespace {

// A heap block of its own for each array: a byte beyond its end is an error.
template <class T>
struct Array {
  std::unique_ptr<T[]> data;
  explicit Array(int64_t count) : data(new T[count]()) {}
  operator T*() { return data.get(); }
};

template <class S>
struct Checks {
  using Compute = typename ComputeVec<S>::Number;
  static constexpr Number kNumber = Number::kFloat;  // any place in the tables

  int64_t rows, classes;
  RowShape shape;
  RowLayout layout;

  Checks(int64_t rows, int64_t classes, bool classes_outside)
      : rows(rows),
        classes(classes),
        shape{rows, rows, classes},
        layout(classes_outside ? RowLayout{0, 1, rows} : RowLayout{0, classes, 1}) {}

  Matrix<const void*> input(S* data) const { return {data, layout}; }
  Matrix<void*> output(S* data) const { return {data, layout}; }

  bool statistics() const {
    StatisticsKernels table[kNumbers];
    fill_table<S>(table, kNumber);
    const StatisticsKernels& kernels = table[int(kNumber)];
    Array<S> logits(rows * classes), weights(rows * classes), out(rows * classes);
    Array<Compute> class_weights(classes + kMaxLanes), maximum(rows), log_sum(rows),
        target_logit(rows), weighted_sum(rows), expected_logit(rows), mass(rows), grad(rows);
    Array<int64_t> argmax(rows);
    Array<int64_t> target(rows);
    const int64_t wrong[] = {0,
                             classes - 1,
                             -100,
                             -1,
                             classes,
                             int64_t(1) << 40,
                             std::numeric_limits<int64_t>::min(),
                             std::numeric_limits<int64_t>::max()};
    for (int64_t r = 0; r < rows; ++r) target[r] = wrong[r % std::size(wrong)];
    bool all_noticed = true;
    for (const int weighted : {0, 1, 2, 3}) {  // not, by class, by logit, by both
      for (const double softcap : {0.0, 3.0}) {
        bool out_of_range = false;
        const StatisticsRows job = {
            .shape = shape,
            .logits = input(logits),
            .weights = weighted >= 2 ? input(weights) : Matrix<const void*>{},
            .target = target,
            .class_weights = weighted % 2 == 1 ? class_weights.data.get() : nullptr,
            .smoothing = weighted == 3 ? Smoothing::of(0.1, classes) : Smoothing(),
            .ignore_index = -100,
            .map = {.cap = softcap, .scale = softcap == 0 ? 1 : 0.5},
            .expected = weighted == 2,
            .out_of_range = &out_of_range};
        kernels.forward(
            job, {maximum, log_sum, target_logit, weighted_sum, expected_logit, mass, argmax}, 0, rows);
        all_noticed &= out_of_range == (rows > 3);
        for (S* to : {out.data.get(), logits.data.get()}) {
          for (const bool stream : {false, true}) {
            if (stream && to != out.data.get()) continue;
            kernels.backward(job,
                             {.maximum = maximum,
                              .log_sum = log_sum,
                              .expected_logit = expected_logit,
                              .grad_log_sum = grad,
                              .grad_target_logit = grad,
                              .grad_weighted_sum = weighted > 0 ? grad.data.get() : nullptr,
                              .grad_expected_logit = weighted == 2 ? grad.data.get() : nullptr,
                              .out = output(to),
                              .stream = stream},
                             0, rows);
          }
        }
      }
    }
    return all_noticed;
  }

  void divergences() const {
    DivergenceKernels table[kNumbers];
    fill_table<S>(table, kNumber);
    const DivergenceKernels& kernels = table[int(kNumber)];
    Array<S> logits(rows * classes), teacher(rows * classes), out(rows * classes);
    Array<Compute> values(rows), statistics(kDivergenceStatistics * rows);
    for (int kind = 0; kind < kDivergenceKinds; ++kind) {
      const DivergenceRows job = {
          shape, input(logits), input(teacher), DivergenceKind(kind), 0.3, 0.5, statistics};
      kernels.forward(job, values, 0, rows);
      kernels.backward(job, values, output(out), /*stream=*/true, 0, rows);
      kernels.backward(job, values, output(logits), /*stream=*/false, 0, rows);
    }
  }

  template <class F>
  void softmax() const {
    SoftmaxKernels table[kNumbers];
    fill_table<F, S>(table, kNumber);
    Array<S> a(rows * classes), b(rows * classes), out(rows * classes);
    for (const bool stream : {false, true}) {
      table[int(kNumber)].forward(shape, input(a), output(out), stream, 0, rows);
      table[int(kNumber)].backward(shape, input(a), input(b), output(out), stream, 0, rows);
    }
    const SegmentKernels& segments = table[int(kNumber)].segments;
    const void *const x = input(a).data, *const y = input(b).data;
    void* const to = output(out).data;
    const SegmentSums sums = segments.forward_sums(x, to, rows * classes);
    segments.forward(x, to, rows * classes, sums, sums);
    segments.backward(x, y, to, rows * classes, segments.backward_sums(x, y, rows * classes));
  }
};

template <class S>
bool run() {
  bool all_noticed = true;
  for (const int64_t classes : {1, 7, 16, 128, 129, 2049}) {
    for (const int64_t rows : {1, 16, 37}) {
      for (const bool classes_outside : {false, true}) {
        const Checks<S> checks(rows, classes, classes_outside);
        all_noticed &= checks.statistics();
        checks.divergences();
        checks.template softmax<Softmax>();
        checks.template softmax<LogSoftmax>();
      }
    }
  }
  return all_noticed;
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {  // that the sanitizer is awake
    Array<float> numbers(4);
    return int(numbers[argc + 2]);
  }
  if (!run<float>() || !run<double>() || !run<BFloat16>() || !run<Half>()) {
    std::puts("a class out of range was not noticed");
    return 1;
  }
  std::puts("clean");
}
