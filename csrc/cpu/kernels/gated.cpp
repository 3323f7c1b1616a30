#include "../gated_sweep.h"

namespace activations_ext::cpu {

void fill_gated(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.gated, number); });
}

}  // namespace activations_ext::cpu
