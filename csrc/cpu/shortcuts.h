// Overloads of value_of and slope_of (contract/activation.h) that are faster than the formula on
// one instruction set. Included wherever kernels are compiled.
#pragma once

#include "../simd/vec.h"

#if defined(ACTIVATIONS_EXT_AVX512)
#include "avx512/gelu_pieces.h"
#include "avx512/logistic_pieces.h"
#include "avx512/mish_pieces.h"
#elif defined(__AVX2__)
#include "avx2/gelu_eight_pieces.h"
#endif

#if defined(__AVX2__)
#include "../simd/exp_by_steps.h"
#include "../simd/tanh_octaves.h"
#endif
