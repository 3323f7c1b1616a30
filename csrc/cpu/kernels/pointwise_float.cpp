#include "../pointwise_sweep.h"

namespace activations_ext::cpu {

void fill_pointwise_float(KernelTable& table) {
  fill_table<float>(table.pointwise, Number::kFloat);
}

}  // namespace activations_ext::cpu
