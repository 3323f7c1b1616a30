#include "../channel_sweep.h"

namespace activations_ext::cpu {

void fill_prelu(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.prelu, number); });
}

}  // namespace activations_ext::cpu
