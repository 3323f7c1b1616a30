// All kernels of one number type.
#pragma once

#include "mixture_rows.h"
#include "pointwise_sweep.h"
#include "prelu_sweep.h"
#include "random_sweep.h"
#include "softmax_rows.h"
#include "statistics_rows.h"
#include "strided_sweep.h"

namespace activations_ext::cpu {

template <class S>
void fill_table(KernelTable& table, Number number) {
  fill_table<S>(table.pointwise, number);
  fill_table<S>(table.prelu, number);
  fill_table<S>(table.random, number);
  fill_table<Softmax, S>(table.softmax, number);
  fill_table<LogSoftmax, S>(table.log_softmax, number);
  fill_table<S>(table.statistics, number);
  fill_table<S>(table.binary_cross_entropy, number);
  fill_table<S>(table.mixture, number);
}

}  // namespace activations_ext::cpu
