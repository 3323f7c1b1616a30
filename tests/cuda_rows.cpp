// The CUDA row kernels on the host against the CPU's: statistics, their gradient, softmax and its
// logarithm, for every dtype, kind of weight and layout, on class counts around each team's and
// pack's ends, with infinities, NaN, ignored rows and targets that are no class. Prints what
// differs, or "clean".
#include "cuda_row_comparison.h"

using namespace activations_ext;

namespace {

constexpr Layout kContiguous = {"contiguous", false, 0}, kApart = {"rows apart", false, 3},
                 kOutside = {"classes outside", true, 0};

template <class S>
void compare(const Layout& layout, int64_t rows, int64_t classes) {
  Comparison<S> comparison{rows, classes, layout};
  comparison.softmax();
  if (layout.gap > 0) {  // what does not depend on the layout
    for (const bool mean : {false, true}) comparison.cross_entropy(false, mean);
    comparison.cross_entropy(true, false);
    comparison.wrong_targets();
  }
  comparison.special_rows();
  for (const int kind : {0, 1, 2, 3}) comparison.statistics(kind, 0.0, 1.0, kind == 1);
  comparison.statistics(0, 5.0, 0.5, true);
  comparison.statistics(2, 0.0, 3.0, false);
}

// More rows than one block sums.
template <class S>
void compare_losses() {
  for (const int64_t rows : {4096, 10000}) {
    Comparison<S> comparison{rows, 3, kContiguous};
    comparison.cross_entropy(false, true);
    comparison.cross_entropy(false, false);
  }
}

// Long enough for shared memory, to be split over blocks, for a cluster, and for neither.
template <class S>
void long_rows() {
  for (const int64_t classes : {9000, 16400, 33'000, 140'000}) {
    Comparison<S> comparison{classes < 20'000 ? 3 : 1, classes, kApart};
    if (classes > 20'000) {
      comparison.softmax();
      continue;
    }
    comparison.shape = {3, 1, classes};
    comparison.at = {classes + 3, 0, 1};
    expect(cuda::row_splits(comparison.shape) > 1, "long rows are not split");
    comparison.statistics(1, 0.0, 1.0, true);
    comparison.statistics(0, 0.0, 1.0, false);
    comparison.softmax();
  }
}

// Few classes of dense rows, more rows than a block has, and the last block's not whole packs.
template <class S>
void tiles() {
  for (const int64_t classes : {1, 2, 7, 10, 16, 17, 40, 64}) {
    Comparison<S> comparison{classes > 16 ? 67 : 259, classes, kContiguous, 0};
    comparison.softmax();
    comparison.special_rows();
    comparison.softmax();
  }
}

// One block or one cluster, which does several rows one after another.
void several_rounds(unsigned blocks) {
  const int64_t rows = 5, classes = 2100;
  const auto logits = drawn<float>(rows * classes), grad = drawn<float>(rows * classes);
  Array<float> out(rows * classes);
  const RowShape shape = {rows, 1, classes};
  const RowLayout at = {classes, 0, 1};
  cuda_on_host::launch_with_shared(
      &cuda::softmax_backward_rows<
          LogSoftmax, float, cuda::Team<cuda::kRowThreads, cuda::By::kPacks>, cuda::Keep::kNowhere>,
      dim3(1, blocks), cuda::kRowThreads, 0, blocks > 1, shape,
      Matrix<const void*>{grad.data(), at}, Matrix<const void*>{logits.data(), at},
      Matrix<void*>{out.data(), at});
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += grad[r * classes + c];
    for (int64_t c = 0; c < classes; ++c) {
      const int64_t i = r * classes + c;
      expect(close(out[i], grad[i] - std::exp(double(logits[i])) * sum, 1e-4),
             "row %ld, one of several of a block, differs", long(r));
    }
  }
}

}  // namespace

// What takes longest comes last, so that most faults are found early.
int main() {
  several_rounds(1);
  several_rounds(2);
  tiles<float>();
  tiles<double>();
  tiles<cuda::BFloat16>();
  tiles<cuda::Half>();
  compare_losses<float>();
  compare_losses<cuda::BFloat16>();
  for (const int64_t classes : {10, 300}) {
    compare<double>(kApart, 9, classes);
    compare<cuda::Half>(kApart, 9, classes);
    compare<float>(kOutside, 9, classes);
  }
  long_rows<float>();
  long_rows<cuda::BFloat16>();
  for (const int64_t classes : {1, 7, 10, 129, 300, 1030, 2100})
    for (const Layout& layout : {kContiguous, kApart, kOutside}) {
      compare<float>(layout, 9, classes);
      compare<cuda::BFloat16>(layout, classes < 100 ? 40 : 1, classes);
    }
  return verdict();
}
