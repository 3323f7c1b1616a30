#include "../fill.h"

namespace activations_ext::cpu {

// One file for each number type, so that they compile in parallel.
void fill_double(KernelTable& table) { fill_table<double>(table, Number::kDouble); }

}  // namespace activations_ext::cpu
