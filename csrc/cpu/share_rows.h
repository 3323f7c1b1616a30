#pragma once

#include <algorithm>

#include "kernels.h"
#include "share.h"

namespace activations_ext::cpu {

// work(begin, end) for all rows.
template <class Work>
void for_rows(const RowShape& shape, const Work& work) {
  // With few classes, whole vectors of rows; only the speed depends on it.
  const int64_t block = shape.classes > kFewClasses ? 1 : kMaxLanes;
  share(shape.rows, block, worth::kLogits / std::max<int64_t>(1, shape.classes) + 1, work);
}

}  // namespace activations_ext::cpu
