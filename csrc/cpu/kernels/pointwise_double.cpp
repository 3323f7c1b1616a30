#include "../pointwise_sweep.h"

namespace activations_ext::cpu {

void fill_pointwise_double(KernelTable& table) {
  fill_table<double>(table.pointwise, Number::kDouble);
}

}  // namespace activations_ext::cpu
