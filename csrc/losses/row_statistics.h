// The statistics of a row of logits x that classification losses need, from one pass.
//
//   f = scale·x, or cap·tanh(scale·x/cap)      m = max f, taken as a constant
//   log_sum = log Σ e^(f−m)                    so that lse = m + log_sum
//   target_logit = f_t − m                     of the class t; 0 for a row without one
//   weighted_sum = Σ w_c·(f_c − m)             and mass = Σ w_c
//   expected_logit = Σ p_c·(f_c − m)           p = e^(f−lse)
//
// Relative to m they keep their digits however large the logits are. −log p_t is log_sum −
// target_logit; lse − f_t would have three correct digits at logits around 10⁴.
#pragma once

#include "../math/math.h"
#include "logit_map.h"
#include "row_sums.h"

namespace activations_ext {

template <class T>
struct RowStatistics {
  T maximum, log_sum, weighted_sum, expected_logit, mass;

  constexpr explicit RowStatistics(const RowSums<T>& row)
      : maximum(row.reference()),
        log_sum(log(row.sum)),
        weighted_sum(row.dot),
        expected_logit(row.spread / row.sum),
        mass(row.mass) {}
};

// The gradient of f_c: p·(g_log_sum + g_expected·(1 + d − expected)) + g_weighted·w_c, d = f_c − m.
// The target class t gets g_target on top.
template <class T>
struct RowStatisticsGradient {
  T log_sum, expected_logit;
  T grad_log_sum, grad_weighted_sum, grad_expected_logit;

  template <bool kAll>
  constexpr T at(T d, T weight) const {
    const T p = share(d - log_sum);
    if constexpr (!kAll) return p * grad_log_sum;
    const T bent = at_least(d, -kZeroFrom<T>) - expected_logit + T(1.0);
    return madd(p, madd(grad_expected_logit, bent, grad_log_sum), grad_weighted_sum * weight);
  }
};

}  // namespace activations_ext
