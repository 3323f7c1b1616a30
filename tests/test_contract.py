"""The contract of an activation (csrc/activation.h), as the author of one meets it."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.compiler

CSRC = Path(__file__).resolve().parent.parent / "csrc"

GAUSSIAN = """
#include "contract/activation.h"
#include "activations/elu.h"
#include "math/math.h"

namespace activations_ext {
struct Gaussian {
  static constexpr const char* kName = "gaussian";
  static constexpr Shape kShape = Shape::kSmooth;
  static constexpr std::array<Parameter, 0> kParameters = {};
  template <class T> constexpr T value(T x) const { return exp(-x * x); }
  template <class T> constexpr T slope(T x) const { return T(-2.0) * x * value(x); }
  template <class T> constexpr T curvature(T x) const {
    return (T(4.0) * x * x - T(2.0)) * value(x);
  }
};
struct Inheritor : ExponentialLinear<true> {
  static constexpr const char* kName = "inheritor";
  static constexpr std::array<Parameter, 0> kParameters = {};
  bool result_tells_slope() const { return false; }
};
}  // namespace activations_ext
static_assert(activations_ext::Activation<activations_ext::Gaussian>);
static_assert(activations_ext::Activation<activations_ext::Inheritor>);
"""


def errors(source: str) -> str:
    """The compiler's messages."""
    compiler = (sysconfig.get_config_var("CXX") or "c++").split()[0]
    command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{CSRC}", "-x", "c++", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True).stderr


def test_an_activation_compiles() -> None:
    assert errors(GAUSSIAN) == ""


@pytest.mark.parametrize(
    "mistake",
    [
        ("T slope(", "T slop("),
        ("T curvature(", "T curvatur("),
        ("T value(T x)", "T value(T x, T y)"),
        ("Shape kShape = Shape::kSmooth", "int kShape = 1"),
        # It has both kinds of slope, so it has to say which of them the in-place form may use.
        ("bool result_tells_slope() const { return false; }", ""),
        ("bool result_tells_slope()", "int result_tells_slope()"),
    ],
    ids=lambda mistake: mistake[1] or mistake[0],
)
def test_a_mistake_does_not(mistake: tuple[str, str]) -> None:
    right, wrong = mistake
    assert right in GAUSSIAN
    assert "static assertion failed" in errors(GAUSSIAN.replace(right, wrong))
