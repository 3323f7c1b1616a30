// Piecewise polynomials whose coefficients are looked up in registers: no exponential, no division.
// One AVX-512 instruction looks up sixteen or thirty-two numbers, one of AVX2 eight, which is
// enough only for long formulas. Larger tables, and other machines, are slower than the formula (on
// a GPU each table takes a kilobyte of stack).
#pragma once

#include "vec.h"

namespace activations_ext::cpu {

using V = Vec<float>;

// One polynomial on each of 8 or 16 pieces of 0 ≤ x < limit or, with 32 columns, up to 32 of
// |x| < limit, which are `width` = 2ᵏ wide. The rows are the pieces' centres, then the
// coefficients, as ../minimax.py prints them. The centres are where rounding those to float costs
// least: the result is little worse than rounded once.
template <std::size_t kRows, std::size_t kPieces>
struct Pieces {
  double width, limit;
  float rows[kRows][kPieces];
};

// table[(bits of u >> kLowest) % kSize] in each lane.
template <int kLowest, std::size_t kSize>
inline V lookup(const float (&table)[kSize], V u) {
  const auto index = bit_cast_lanes<Mask<float>::Native>(u.native) >> kLowest;
#if defined(ACTIVATIONS_EXT_AVX512)
  static_assert(kSize == 16 || kSize == 32);
  const auto places = bit_cast_lanes<__m512i>(index);
  const __m512 low = _mm512_loadu_ps(table);
  if constexpr (kSize == 16) return _mm512_maskz_permutexvar_ps(0xffff, places, low);
  return _mm512_permutex2var_ps(low, places, _mm512_loadu_ps(table + kSize - 16));
#else
  static_assert(kSize == 8);
  return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), bit_cast_lanes<__m256i>(index));
#endif
}

// The polynomial around row 0 whose coefficients are the others.
template <std::size_t kRows, class Row>
inline V around_centre(V x, Row row) {
  const V h = x - row(0);
  V result = row(kRows - 1);
  for (std::size_t i = kRows - 2; i > 0; --i) result = madd(result, h, row(i));
  return result;
}

// The result of the pieces at x.
struct Near {
  Vec<float> value;
  Mask<float> beyond;  // x is in none of the pieces; most vectors hold no such number

  // `result`, or the formula where x is beyond.
  template <class Formula>
  Vec<float> or_beyond(Vec<float> result, Formula formula) const {
    return any(beyond) ? where(beyond, formula(), result) : result;
  }
};

template <std::size_t kRows, std::size_t kPieces>
inline Near by_pieces(const Pieces<kRows, kPieces>& pieces, V x) {
  // The highest bits of this sum's mantissa count the pieces: three or four of them from 0 on, or
  // five from −16.
  constexpr bool kSigned = kPieces == 32;
  constexpr int kLowest = 23 - std::countr_zero(kPieces);
  const double origin = (kSigned ? 48.0 : double(kPieces)) * pieces.width;
  const V piece = x + V(origin);
  const auto row = [&](std::size_t i) { return lookup<kLowest>(pieces.rows[i], piece); };
  const V result = around_centre<kRows>(x, row);
  // `piece` is compared, not x, as a number just below the limit is rounded up to what counts as
  // the next piece.
  const V end = kSigned ? abs(piece - V(origin)) : piece;
  return {result, end >= V(kSigned ? pieces.limit : origin + pieces.limit)};
}

// One polynomial on each of 8 or 16 pieces of 0 ≤ x < 15, as wide as x + 1 has octaves. The lowest
// two bits of its exponent and the highest of its mantissa count them.
template <std::size_t kRows, std::size_t kPieces>
struct Octaves {
  float rows[kRows][kPieces];
};

template <std::size_t kRows, std::size_t kPieces>
inline V by_octaves(const Octaves<kRows, kPieces>& octaves, V x) {
  constexpr int kLowest = 25 - std::countr_zero(kPieces);
  const V piece = x + V(1.0);
  const auto row = [&](std::size_t i) { return lookup<kLowest>(octaves.rows[i], piece); };
  return around_centre<kRows>(x, row);
}

}  // namespace activations_ext::cpu
