#include "../fill.h"

namespace activations_ext::cpu {

// One file for each number type, so that they compile in parallel.
void fill_float(KernelTable& table) { fill_table<float>(table, Number::kFloat); }

}  // namespace activations_ext::cpu
