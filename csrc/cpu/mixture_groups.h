// As many mixtures as a vector has lanes. For what belongs to a component, the lanes are mixtures.
// For deviations they are mixtures, too (Transposed), or the dimensions of one component, as they
// are in memory (InPlace).
#pragma once

#include <vector>

#include "../losses/mixture.h"
#include "row_columns.h"

namespace activations_ext::cpu {

template <class V>
struct MixtureBuffers {
  std::vector<V> logits, joint, part;  // of each component
  std::vector<V> target, mean_slope, scale_slope;
  std::vector<typename V::Number> by_row;  // a number of each component, row by row

  MixtureBuffers(int64_t components, int64_t target, int64_t slopes, int64_t by_row = 0)
      : logits(components),
        joint(components),
        part(components),
        target(target),
        mean_slope(slopes),
        scale_slope(slopes),
        by_row(by_row) {}
};

template <class S>
struct SomeMixtures {
  using V = ComputeVec<S>;
  using Number = typename V::Number;
  static constexpr int kWidth = kLanes<S>;

  const MixtureRows& job;
  MixtureBuffers<V>& buffers;
  int64_t first_row;
  int rows;

  SomeStarts<const S*> starts(Strided<const void*> of) const { return {of, first_row, rows}; }
  SomeStarts<S*> starts(void* contiguous, int64_t columns) const {
    return {Strided<void*>{contiguous, columns}, first_row, rows};
  }
  V load_each(const void* numbers) const {
    Number lanes[kWidth] = {};
    const auto from = static_cast<const Number*>(numbers) + first_row;
    std::copy(from, from + rows, lanes);
    return load(lanes);
  }
  void store_each(void* numbers, V x) const {
    Number lanes[kWidth];
    store<false>(lanes, x);
    std::copy(lanes, lanes + rows, static_cast<Number*>(numbers) + first_row);
  }
};

template <class S>
struct Transposed : SomeMixtures<S> {
  using typename SomeMixtures<S>::V;
  using SomeMixtures<S>::kWidth, SomeMixtures<S>::job, SomeMixtures<S>::buffers;

  static MixtureBuffers<V> buffers_for(const MixtureRows& job) {
    return {job.components, job.dimensions, job.components * job.dimensions};
  }
  static int rows_at_once(const MixtureRows&) { return kWidth; }

  // joint[c] = the log-density of component c. Calls keep(i, deviation) for each deviation.
  template <class F, class Keep>
  void densities(F f, Keep keep) const {
    this->starts(job.target).load_all(job.dimensions, buffers.target.data());
    const auto mean = this->starts(job.mean), scale = this->starts(job.scale);
    V sum = V(0.0);
    int64_t c = 0, d = 0;
    mean.for_columns(job.components * job.dimensions, [&](int64_t first, int64_t count) {
      V means[kWidth], scales[kWidth];
      mean.load_columns(first, count, means);
      scale.load_columns(first, count, scales);
      for (int64_t k = 0; k < count; ++k) {
        const auto deviation =
            Deviation<V>::of(f, buffers.target[d], means[k], scales[k], job.floor);
        sum = sum + deviation.log_density();
        keep(first + k, deviation);
        if (++d < job.dimensions) continue;
        buffers.joint[c] = sum;
        sum = V(0.0);
        d = 0;
        ++c;
      }
    });
  }
  // Of the slopes, each times the part of its component.
  void store_parts(const MixtureGradient& gradient) const {
    const int64_t columns = job.components * job.dimensions;
    const auto mean = this->starts(gradient.mean, columns),
               scale = this->starts(gradient.scale, columns);
    int64_t c = 0, d = 0;
    mean.for_columns(columns, [&](int64_t first, int64_t count) {
      V means[kWidth], scales[kWidth];
      for (int64_t k = 0; k < count; ++k) {
        means[k] = shared(buffers.part[c], buffers.mean_slope[first + k]);
        scales[k] = shared(buffers.part[c], buffers.scale_slope[first + k]);
        if (++d == job.dimensions) d = 0, ++c;
      }
      mean.store_columns(first, count, means);
      scale.store_columns(first, count, scales);
    });
  }
};

template <class S>
struct InPlace : SomeMixtures<S> {
  using typename SomeMixtures<S>::V;
  using typename SomeMixtures<S>::Number;
  using SomeMixtures<S>::kWidth, SomeMixtures<S>::job, SomeMixtures<S>::buffers;
  static constexpr int64_t kSlopes = 8 * 1024;  // vectors, 512 KB: in the second-level cache

  static int64_t vectors_of(int64_t numbers) { return (numbers + kWidth - 1) / kWidth; }
  static int64_t slopes_of_row(const MixtureRows& job) {
    return job.components * vectors_of(job.dimensions);
  }
  static int rows_at_once(const MixtureRows& job) {
    return int(std::clamp<int64_t>(kSlopes / 2 / slopes_of_row(job), 1, kWidth));
  }
  static MixtureBuffers<V> buffers_for(const MixtureRows& job) {
    const int rows = rows_at_once(job);
    return {job.components, vectors_of(job.dimensions), rows * slopes_of_row(job),
            rows * vectors_of(job.components) * kWidth};
  }

  template <class F, class Keep>
  void densities(F f, Keep keep) const {
    int64_t slope = 0;
    for (int r = 0; r < this->rows; ++r) {
      const S *const target = row_of(job.target, r), *mean = row_of(job.mean, r),
                     *scale = row_of(job.scale, r);
      for_vectors(job.dimensions, [&](int64_t i, int64_t first, int lanes) {
        buffers.target[i] = some_of(target + first, lanes);
      });
      for_vectors(job.components, [&](int64_t, int64_t c, int components) {
        V sums[kWidth];
        for (int k = 0; k < components; ++k, mean += job.dimensions, scale += job.dimensions) {
          sums[k] = V(0.0);
          for_vectors(job.dimensions, [&](int64_t i, int64_t first, int lanes) {
            const auto deviation =
                Deviation<V>::of(f, buffers.target[i], some_of(mean + first, lanes),
                                 some_of(scale + first, lanes), job.floor);
            sums[k] = sums[k] + inside(deviation.log_density(), lanes);
            keep(slope++, deviation);
          });
        }
        std::fill(sums + components, sums + kWidth, V(0.0));
        store<false>(by_row(r) + c, sums_of_lanes(sums));
      });
    }
    by_rows<const Number*>().load_all(job.components, buffers.joint.data());
  }
  void store_parts(const MixtureGradient& gradient) const {
    by_rows<Number*>().store_all(job.components, buffers.part.data());
    int64_t slope = 0;
    for (int r = 0; r < this->rows; ++r) {
      const int64_t first_number = (this->first_row + r) * job.components * job.dimensions;
      S *mean = static_cast<S*>(gradient.mean) + first_number,
        *scale = static_cast<S*>(gradient.scale) + first_number;
      for (int64_t c = 0; c < job.components; ++c) {
        const V part = V(double(by_row(r)[c]));
        for_vectors(job.dimensions, [&](int64_t, int64_t first, int lanes) {
          put(mean + first, shared(part, buffers.mean_slope[slope]), lanes);
          put(scale + first, shared(part, buffers.scale_slope[slope]), lanes);
          ++slope;
        });
        mean += job.dimensions;
        scale += job.dimensions;
      }
    }
  }

 private:
  const S* row_of(Strided<const void*> of, int r) const {
    return static_cast<const S*>(of.data) + (this->first_row + r) * of.stride;
  }
  Number* by_row(int r) const {
    return buffers.by_row.data() + r * vectors_of(job.components) * kWidth;
  }
  template <class Pointer>
  SomeStarts<Pointer> by_rows() const {
    return {Strided<void*>{buffers.by_row.data(), vectors_of(job.components) * kWidth}, 0,
            this->rows};
  }
  // work(i, first, lanes) for vector i of `count` numbers, which has `lanes` of them from `first`.
  template <class Work>
  static void for_vectors(int64_t count, Work work) {
    int64_t i = 0, first = 0;
    for (; first + kWidth <= count; first += kWidth) work(i++, first, kWidth);
    if (first < count) work(i, first, int(count - first));
  }
  static V some_of(const S* from, int lanes) {
    return lanes == kWidth ? load(from) : load_first(from, lanes);
  }
  static void put(S* to, V x, int lanes) {
    lanes == kWidth ? store<false>(to, x) : store_first(to, x, lanes);
  }
  static V inside(V x, int lanes) {
    return lanes == kWidth ? x : where(first_lanes<Number>(lanes), x, V(0.0));
  }
};

}  // namespace activations_ext::cpu
