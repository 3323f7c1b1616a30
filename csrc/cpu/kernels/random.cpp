#include "../random_sweep.h"

namespace activations_ext::cpu {

void fill_random(KernelTable& table) {
  for_each_number([&]<class S>(Number number) { fill_table<S>(table.random, number); });
}

}  // namespace activations_ext::cpu
