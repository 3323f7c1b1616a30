// How the CUDA row kernels on the host are compared with the CPU's: one shape and layout of logits,
// and what is computed of them. For cuda_rows.cpp.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "cuda_on_host.h"
// After the shim, whose names they use.
#include "cpu/softmax_rows.h"
#include "cpu/statistics_rows.h"
#include "cuda/row_kernels.cu"
#include "cuda_against_cpu.h"

namespace activations_ext {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kIgnored = -100;

inline bool close(double x, double expected, double precision) {
  if (std::isnan(expected) || std::isinf(expected))
    return x == expected || (std::isnan(x) && std::isnan(expected));
  return std::fabs(x - expected) <= precision * (1 + std::fabs(expected));
}

// Memory of rows × classes, each row `gap` elements longer, or the classes outside.
struct Layout {
  const char* name;
  bool classes_outside;
  int64_t gap;

  RowLayout of(int64_t rows, int64_t classes) const {
    return classes_outside ? RowLayout{0, 1, rows} : RowLayout{0, classes + gap, 1};
  }
  int64_t size(int64_t rows, int64_t classes) const { return rows * (classes + gap); }
};

template <class S>
struct Comparison {
  using Number = cuda::StatisticNumber<S>;
  using CpuNumber = typename OnCpu<S>::type;

  int64_t rows, classes;
  Layout layout;
  int start = 1;  // of the first row, in elements from a multiple of 16 bytes
  RowShape shape = {rows, rows, classes};
  RowLayout at = layout.of(rows, classes);
  Array<S> logits = drawn<S>(layout.size(rows, classes), 3.0, start);

  void special_rows() {
    const auto set = [&](int64_t row, int64_t c, double x) {
      if (row < rows)
        logits[row * at.inner_stride + c % classes * at.class_stride] =
            cuda::rounded<S>(cuda::Compute<S>(x));
    };
    for (int64_t c = 0; c < classes; ++c) set(1, c, -kInfinity);
    set(2, classes / 2, kInfinity);
    set(3, classes - 1, std::nan(""));
    set(4, 0, kInfinity);
    set(4, 1, std::nan(""));
    set(5, classes / 3, -kInfinity);
  }
  Matrix<const void*> in(const Array<S>& numbers) const { return {numbers.data(), at}; }
  Matrix<void*> out(const Array<S>& numbers) const { return {numbers.data(), at}; }

  template <class T>
  void same(const Array<T>& x, const Array<T>& expected, double precision, const char* what) const {
    for (int64_t i = 0; i < x.size(); ++i) {
      const double a = double(x.number(i)), b = double(expected.number(i));
      if (close(a, b, precision)) continue;
      expect(false, "%s of %d bytes, %ld × %ld, %s: %g at %ld, but on the CPU %g", what,
             int(sizeof(S)), long(rows), long(classes), layout.name, a, long(i), b);
      return;
    }
  }

  // kind: 0 no weights, 1 for each class, 2 for each logit, 3 for both, and smoothed
  void statistics(int kind, double softcap, double scale, bool expected) {
    cpu::StatisticsKernels on_cpu[kNumbers];
    cpu::fill_table<CpuNumber>(on_cpu, kNumber);
    const auto& kernels = cuda::row_kernels().statistics[int(kNumber)];
    Array<int64_t> target(rows);
    for (int64_t r = 0; r < rows; ++r) target[r] = r % 7 == 6 ? kIgnored : r * 31 % classes;
    Array<Number> class_weights(classes + kPadding);
    for (int64_t c = 0; c < classes + kPadding; ++c) class_weights[c] = Number(c % 5 + 1) / 10;
    const auto weights = drawn<S>(layout.size(rows, classes), 1.0, 2);
    bool out_of_range = false;
    StatisticsRows job = {.shape = shape,
                          .logits = in(logits),
                          .weights = kind >= 2 ? in(weights) : Matrix<const void*>{},
                          .target = target.data(),
                          .class_weights = kind % 2 == 1 ? class_weights.data() : nullptr,
                          .smoothing = kind == 3 ? Smoothing::of(0.1, classes) : Smoothing(),
                          .ignore_index = kIgnored,
                          .map = {.cap = softcap, .scale = scale},
                          .expected = expected,
                          .out_of_range = &out_of_range};
    struct Results {
      Array<Number> maximum, log_sum, target_logit, weighted_sum, expected_logit, mass;
      explicit Results(int64_t n)
          : maximum(n), log_sum(n), target_logit(n), weighted_sum(n), expected_logit(n), mass(n) {}
      StatisticsResults memory(int kind, bool expected) {
        return {maximum.data(), log_sum.data(), target_logit.data(),
                kind ? weighted_sum.data() : nullptr, expected ? expected_logit.data() : nullptr,
                kind ? mass.data() : nullptr};
      }
    } ours(rows), cpus(rows);
    Array<char> partial(cuda::partial_bytes(shape));
    Array<int64_t> report(1);
    report[0] = 0;
    kernels.forward(job, ours.memory(kind, expected), report.data(), partial.data(), nullptr);
    on_cpu[int(kNumber)].forward(job, cpus.memory(kind, expected), 0, rows);
    expect(report[0] == 0 && !out_of_range, "a sound target was reported");
    const double precision = sizeof(S) == 8 ? 1e-13 : 2e-5;
    same(ours.log_sum, cpus.log_sum, precision, "log_sum");
    for (int64_t r = 0; r < rows; ++r) {  // of a row with NaN it does not matter what they are
      if (std::isnan(double(cpus.log_sum.number(r))))
        ours.maximum[r] = cpus.maximum[r], ours.target_logit[r] = cpus.target_logit[r];
    }
    same(ours.maximum, cpus.maximum, softcap == 0 && scale == 1 ? 0 : precision, "maximum");
    same(ours.target_logit, cpus.target_logit, precision, "target_logit");
    if (kind) same(ours.weighted_sum, cpus.weighted_sum, precision * 50, "weighted_sum");
    if (kind) same(ours.mass, cpus.mass, precision, "mass");
    if (expected) same(ours.expected_logit, cpus.expected_logit, precision * 5, "expected_logit");

    const auto g_log = of_rows(0), g_target = of_rows(1), g_sum = of_rows(2),
               g_expected = of_rows(3);
    Array<S> from_gpu(logits), from_cpu(logits);
    StatisticsGradient gradient = {
        .maximum = cpus.maximum.data(),
        .log_sum = cpus.log_sum.data(),
        .expected_logit = expected ? cpus.expected_logit.data() : nullptr,
        .grad_log_sum = g_log.data(),
        .grad_target_logit = g_target.data(),
        .grad_weighted_sum = kind ? g_sum.data() : nullptr,
        .grad_expected_logit = expected ? g_expected.data() : nullptr,
        .out = out(from_gpu),
        .stream = false};
    if (kind == 1) job.logits = in(from_gpu);  // in place
    kernels.backward(job, gradient, nullptr);
    job.logits = in(logits);
    gradient.out = out(from_cpu);
    on_cpu[int(kNumber)].backward(job, gradient, 0, rows);
    same(from_gpu, from_cpu, rounding(), "gradient");
  }

  void wrong_targets() {
    const auto& kernels = cuda::row_kernels().statistics[int(kNumber)];
    const int64_t wrong[] = {0, classes, -1, int64_t(1) << 40};
    for (const int64_t asked : wrong) {
      Array<int64_t> target(rows);
      for (int64_t r = 0; r < rows; ++r) target[r] = r == rows / 2 ? asked : 0;
      const StatisticsRows job = of_classes(target);
      Array<Number> maximum(rows), log_sum(rows), target_logit(rows), grad(rows);
      for (int64_t r = 0; r < rows; ++r) grad[r] = 1;
      Array<char> partial(cuda::partial_bytes(shape));
      Array<int64_t> report(1);
      report[0] = 0;
      kernels.forward(job, {maximum.data(), log_sum.data(), target_logit.data(), nullptr, nullptr},
                      report.data(), partial.data(), nullptr);
      Array<S> gradient(layout.size(rows, classes));
      kernels.backward(job,
                       {.maximum = maximum.data(),
                        .log_sum = log_sum.data(),
                        .expected_logit = nullptr,
                        .grad_log_sum = grad.data(),
                        .grad_target_logit = grad.data(),
                        .grad_weighted_sum = nullptr,
                        .grad_expected_logit = nullptr,
                        .out = out(gradient),
                        .stream = false},
                       nullptr);
      const bool is_wrong = asked != 0;
      expect((report[0] >> 32) == (is_wrong ? rows / 2 + 1 : 0), "the row of target %ld is %ld",
             long(asked), long(report[0] >> 32));
      expect(std::isnan(double(target_logit.number(rows / 2))) == is_wrong,
             "the loss of target %ld", long(asked));
      if (!is_wrong) continue;
      for (int64_t c = 0; c < classes; ++c)
        expect(double(gradient.number(rows / 2 * at.inner_stride + c * at.class_stride)) == 0,
               "the gradient of target %ld", long(asked));
    }
  }

  // Of a target for each row and nothing else.
  StatisticsRows of_classes(const Array<int64_t>& target) const {
    return {.shape = shape,
            .logits = in(logits),
            .weights = {},
            .target = target.data(),
            .class_weights = nullptr,
            .ignore_index = kIgnored,
            .map = {},
            .expected = false,
            .out_of_range = nullptr};
  }

  // The loss of each row, their sum or their mean, and its gradient, against the formula.
  void cross_entropy(bool of_rows, bool mean) {
    const auto& kernels = cuda::row_kernels();
    Array<int64_t> target(rows), report(1);
    for (int64_t r = 0; r < rows; ++r) target[r] = r % 7 == 6 ? kIgnored : r * 31 % classes;
    const StatisticsRows job = of_classes(target);
    Array<Number> maximum(rows), log_sum(rows), target_logit(rows), share(1);
    Array<char> partial(cuda::partial_bytes(shape)), sums(cuda::kLossPartialBytes);
    report[0] = 0;
    kernels.statistics[int(kNumber)].forward(
        job, {maximum.data(), log_sum.data(), target_logit.data(), nullptr, nullptr}, report.data(),
        partial.data(), nullptr);
    Array<S> loss(of_rows ? rows : 1);
    kernels.cross_entropy[int(kNumber)]({.log_sum = log_sum.data(),
                                         .target_logit = target_logit.data(),
                                         .target = target.data(),
                                         .rows = rows,
                                         .ignore_index = kIgnored,
                                         .loss = loss.data(),
                                         .share = share.data(),
                                         .of_rows = of_rows,
                                         .mean = mean},
                                        sums.data(), nullptr);
    double total = 0;
    int64_t kept = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const bool keeps = target[r] != kIgnored;
      const double of_row = keeps ? double(log_sum[r]) - double(target_logit[r]) : 0;
      if (of_rows)
        expect(close(double(loss.number(r)), of_row, rounding()), "the loss of row %ld", long(r));
      total += of_row, kept += keeps;
    }
    const double weight = mean ? 1.0 / double(kept) : 1.0;
    if (!of_rows)
      expect(close(double(loss.number(0)), total * weight, rounding()), "%ld rows: %g, not %g",
             long(rows), double(loss.number(0)), total * weight);
    expect(close(double(share[0]), of_rows ? 1.0 : weight, 1e-6), "the share of %ld rows",
           long(rows));

    const auto grad = drawn<S>(of_rows ? rows : 1);
    Array<S> out(logits);
    StatisticsGradient gradient = {.maximum = maximum.data(),
                                   .log_sum = log_sum.data(),
                                   .expected_logit = nullptr,
                                   .grad_log_sum = nullptr,
                                   .grad_target_logit = nullptr,
                                   .grad_weighted_sum = nullptr,
                                   .grad_expected_logit = nullptr,
                                   .out = this->out(out),
                                   .stream = false,
                                   .of_loss = grad.data(),
                                   .share = share.data(),
                                   .step = of_rows ? 1 : 0};
    kernels.statistics[int(kNumber)].backward(job, gradient, nullptr);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < classes; ++c) {
        const int64_t i = r * at.inner_stride + c * at.class_stride;
        const double p =
            std::exp(double(logits.number(i)) - double(maximum[r]) - double(log_sum[r]));
        const double of_row = double(share[0]) * double(grad.number(of_rows ? r : 0));
        const double right = target[r] == kIgnored ? 0 : of_row * (p - (c == target[r]));
        if (close(double(out.number(i)), right, rounding())) continue;
        return expect(false, "the gradient at %ld, %ld: %g, not %g", long(r), long(c),
                      double(out.number(i)), right);
      }
  }

  void softmax() {
    const auto& table = cuda::row_kernels();
    const auto check = [&]<class F>(const cuda::SoftmaxKernels& kernels, const char* name) {
      cpu::SoftmaxKernels on_cpu[kNumbers];
      cpu::fill_table<F, CpuNumber>(on_cpu, kNumber);
      const auto& cpus = on_cpu[int(kNumber)];
      Array<S> x(logits.size(), start), expected(logits), g(logits.size(), start),
          expected_g(logits);
      std::memset(x.data(), 0, x.size() * sizeof(S));
      std::memset(g.data(), 0, x.size() * sizeof(S));
      std::memset(expected.data(), 0, x.size() * sizeof(S));
      std::memset(expected_g.data(), 0, x.size() * sizeof(S));
      kernels.forward(shape, in(logits), out(x), nullptr);
      cpus.forward(shape, in(logits), out(expected), false, 0, rows);
      same(x, expected, rounding(), name);
      const auto grad = drawn<S>(logits.size(), 1.0, start);
      kernels.backward(shape, in(grad), in(expected), out(g), nullptr);
      cpus.backward(shape, in(grad), in(expected), out(expected_g), false, 0, rows);
      same(g, expected_g, 20 * rounding(), name);
    };
    check.template operator()<Softmax>(table.softmax[int(kNumber)], "softmax");
    check.template operator()<LogSoftmax>(table.log_softmax[int(kNumber)], "log_softmax");
  }

 private:
  static constexpr int64_t kPadding = cpu::kMaxLanes;
  static double rounding() {
    if (sizeof(S) == 8) return 1e-13;
    if (sizeof(S) == 4) return 2e-5;
    return std::is_same_v<S, cuda::Half> ? 0x1p-10 : 0x1p-7;
  }
  static constexpr activations_ext::Number kNumber = [] {
    using enum activations_ext::Number;
    if (std::is_same_v<S, double>) return kDouble;
    if (std::is_same_v<S, float>) return kFloat;
    return std::is_same_v<S, cuda::Half> ? kHalf : kBFloat16;
  }();
  // A gradient for each row, of which some are 0 in all.
  Array<Number> of_rows(int which) const {
    Array<Number> numbers(rows);
    for (int64_t r = 0; r < rows; ++r) numbers[r] = r % 4 == 3 ? 0 : Number(r % 3 + which - 1) / 2;
    return numbers;
  }
};

}  // namespace activations_ext
