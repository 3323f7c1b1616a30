#include "../binary_sweep.h"

namespace activations_ext::cpu {

void fill_binary_cross_entropy(KernelTable& table) {
  for_each_number([&]<class S>(Number number) {
    fill_table<BinaryCrossEntropy, S>(table.binary_cross_entropy, number);
    fill_table<FocalBinaryCrossEntropy, S>(table.focal_binary_cross_entropy, number);
  });
}

}  // namespace activations_ext::cpu
