#include "../fill.h"

namespace activations_ext::cpu {

// One file for each number type, so that they compile in parallel.
void fill_half(KernelTable& table) { fill_table<Half>(table, Number::kHalf); }

}  // namespace activations_ext::cpu
