// Divergences of a student's distribution p over the classes of a row from a teacher's q, of
// a = log p and b = log q of each class, and their gradients by the student's logits:
//
//   forward         KL(q‖p) = Σ q·(b − a)                 p − q
//   reverse         KL(p‖q) = Σ p·(a − b)                 p·(a − b − KL(p‖q))
//   Jensen–Shannon  β·KL(q‖m) + (1−β)·KL(p‖m)             (1−β)·p·(a − log m − KL(p‖m))
//
// with m = β·q + (1−β)·p (Agarwal et al., arXiv:2306.13649). A class of probability 0 adds nothing.
//
// The first two also sum p − q or q − p, which is 0 together: each summand is q·φ(a − b) then, with
// φ(d) = e^d − 1 − d, so that close distributions keep their digits although a and b are rounded.
#pragma once

#include "../device/divergence_job.h"
#include "shared.h"

namespace activations_ext {

// What a class adds to the divergence, and to what its gradient needs.
template <class T>
struct DivergenceSums {
  T value, own;
  constexpr DivergenceSums plus(const DivergenceSums& more) const {
    return {value + more.value, own + more.own};
  }
};

struct ForwardDivergence {
  template <class T>
  constexpr DivergenceSums<T> of(T a, T b) const {
    const T p = share(a), q = share(b);
    return {shared(q, b - a) + (p - q), T(0.0)};
  }
  template <class T>
  constexpr T gradient(T a, T b, T) const {
    return share(a) - share(b);
  }
};

struct ReverseDivergence {
  template <class T>
  constexpr DivergenceSums<T> of(T a, T b) const {
    const T p = share(a), q = share(b), value = shared(p, a - b) + (q - p);
    return {value, value};
  }
  template <class T>
  constexpr T gradient(T a, T b, T own) const {
    return shared(share(a), a - b - own);
  }
};

struct JensenShannonDivergence {
  double beta;

  template <class T>
  constexpr DivergenceSums<T> of(T a, T b) const {
    const T p = share(a), q = share(b), log_m = log(mixed(p, q));
    const T own = shared(p, a - log_m);
    return {madd(T(beta), shared(q, b - log_m), T(1.0 - beta) * own), own};
  }
  template <class T>
  constexpr T gradient(T a, T b, T own) const {
    const T p = share(a);
    return T(1.0 - beta) * shared(p, a - log(mixed(p, share(b))) - own);
  }

 private:
  template <class T>
  constexpr T mixed(T p, T q) const {
    return madd(T(beta), q, T(1.0 - beta) * p);
  }
};

// run(divergence)
template <class Run>
void with_divergence(DivergenceKind kind, double beta, Run run) {
  switch (kind) {
    case DivergenceKind::kForward:
      return run(ForwardDivergence());
    case DivergenceKind::kReverse:
      return run(ReverseDivergence());
    case DivergenceKind::kJensenShannon:
      return run(JensenShannonDivergence{beta});
  }
}

}  // namespace activations_ext
