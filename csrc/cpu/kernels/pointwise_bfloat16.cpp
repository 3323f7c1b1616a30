#include "../pointwise_sweep.h"

namespace activations_ext::cpu {

void fill_pointwise_bfloat16(KernelTable& table) {
  fill_table<BFloat16>(table.pointwise, Number::kBFloat16);
}

}  // namespace activations_ext::cpu
