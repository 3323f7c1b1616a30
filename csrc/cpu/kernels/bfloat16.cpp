#include "../fill.h"

namespace activations_ext::cpu {

// One file for each number type, so that they compile in parallel.
void fill_bfloat16(KernelTable& table) { fill_table<BFloat16>(table, Number::kBFloat16); }

}  // namespace activations_ext::cpu
