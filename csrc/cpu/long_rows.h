// softmax of few long rows, each of which is shared between threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../device/as_rows.h"
#include "kernels.h"
#include "share.h"

namespace activations_ext::cpu {

// Whether it applies depends on the shape alone: results are the same on any number of threads.
struct LongRows {
  static constexpr int64_t kMostRows = 4, kSegment = worth::kLogits;

  const AsRows& rows;
  int64_t segments = (rows.shape.classes + kSegment - 1) / kSegment;  // of a row

  bool apply() const {
    bool side_by_side = true;
    for (const RowLayout& layout : rows.layouts) side_by_side &= layout.class_stride == 1;
    return side_by_side && rows.shape.rows <= kMostRows && segments > 1;
  }
  // work(task, row, first, count) for all segments.
  template <class Work>
  void for_each_segment(const Work& work) const {
    share(rows.shape.rows * segments, 1, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % segments * kSegment;
        work(task, task / segments, first, std::min(kSegment, rows.shape.classes - first));
      }
    });
  }
  // The address of a class in tensor i.
  template <class Pointer = const void*>
  Pointer at(std::size_t i, int64_t row, int64_t first) const {
    const Matrix<Pointer> matrix = rows.matrix<Pointer>(i);
    const int64_t element = row / rows.shape.inner * matrix.at.outer_stride +
                            row % rows.shape.inner * matrix.at.inner_stride + first;
    using Byte = std::conditional_t<std::is_same_v<Pointer, void*>, char, const char>;
    return static_cast<Byte*>(matrix.data) + element * rows.tensors[i].element_size();
  }
  // The sums of each row, in the order of its segments.
  std::vector<SegmentSums> of_rows(const std::vector<SegmentSums>& parts) const {
    std::vector<SegmentSums> sums;
    for (int64_t row = 0; row < rows.shape.rows; ++row) {
      const auto* const of_row = parts.data() + row * segments;
      double maximum = of_row[0].maximum, sum = 0;
      for (int64_t k = 1; k < segments; ++k) maximum = std::max(maximum, of_row[k].maximum);
      if (maximum == -INFINITY) maximum = 0;  // −∞ − m is not NaN then
      for (int64_t k = 0; k < segments; ++k)
        sum += of_row[k].sum * std::exp(of_row[k].maximum - maximum);
      sums.push_back({maximum, sum});
    }
    return sums;
  }
  std::vector<SegmentSums> no_sums() const {
    return std::vector<SegmentSums>(rows.shape.rows * segments);
  }
  void softmax(const SegmentKernels& kernels) const {
    auto parts = no_sums();
    for_each_segment([&](int64_t task, int64_t row, int64_t first, int64_t count) {
      parts[task] = kernels.forward_sums(at(0, row, first), at<void*>(1, row, first), count);
    });
    const auto sums = of_rows(parts);
    for_each_segment([&](int64_t task, int64_t row, int64_t first, int64_t count) {
      kernels.forward(at(0, row, first), at<void*>(1, row, first), count, parts[task], sums[row]);
    });
  }
  void softmax_backward(const SegmentKernels& kernels) const {
    auto parts = no_sums();
    for_each_segment([&](int64_t task, int64_t row, int64_t first, int64_t count) {
      parts[task] = kernels.backward_sums(at(0, row, first), at(1, row, first), count);
    });
    const auto sums = of_rows(parts);
    for_each_segment([&](int64_t, int64_t row, int64_t first, int64_t count) {
      kernels.backward(at(0, row, first), at(1, row, first), at<void*>(2, row, first), count,
                       sums[row]);
    });
  }
};

}  // namespace activations_ext::cpu
