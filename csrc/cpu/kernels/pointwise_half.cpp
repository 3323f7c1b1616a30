#include "../pointwise_sweep.h"

namespace activations_ext::cpu {

void fill_pointwise_half(KernelTable& table) { fill_table<Half>(table.pointwise, Number::kHalf); }

}  // namespace activations_ext::cpu
