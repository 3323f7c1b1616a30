// Memory for large tensors: huge pages, and blocks that are used again.
//
// A block of malloc's that is this large is mapped afresh each time, so that each of its pages
// faults and is cleared by the kernel first: for relu on 128 MiB that is 5 times the work itself.
// Blocks given back are therefore kept for the next tensor. While they wait they belong to the
// kernel (MADV_FREE), which silently takes their pages as soon as memory is short. With
// ACTIVATIONS_EXT_LARGE_BLOCKS=0 in the environment the memory is torch's own.
#pragma once

#include <c10/core/Allocator.h>

namespace activations_ext::cpu {

// From here on glibc's malloc maps every block afresh, and a tensor does not fit the cache besides.
constexpr int64_t kLargeBytes = int64_t{32} << 20;

// The first call, made when the module is loaded, creates the state that later ones share: a child
// forked while a thread creates it would wait for that thread forever.
c10::Allocator* large_blocks();

// Returns the blocks that wait to the system at once.
void empty_cache();

}  // namespace activations_ext::cpu
