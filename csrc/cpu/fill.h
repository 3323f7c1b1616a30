// All kernels of one number type.
#pragma once

#include "pointwise.h"
#include "prelu.h"
#include "random.h"

namespace activations_ext::cpu {

template <class S>
void fill_table(KernelTable& table, Number number) {
  fill_table<S>(table.pointwise, number);
  fill_table<S>(table.prelu, number);
  fill_table<S>(table.random, number);
}

}  // namespace activations_ext::cpu
