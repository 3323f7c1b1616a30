"""Prints the coefficients that stand in csrc/.

`python csrc/math/minimax.py [name …]`, of the names at the end of this file, or of all of them
(eight minutes). Needs mpmath, which torch installs.

Each is the minimax polynomial (Remez exchange) of a smooth function, with the error weighted so
that it is relative to the value finally computed. The largest weighted error is printed beside it;
half an ULP of float32 is 6e-8. tests/test_minimax.py compares what is printed with what stands.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

from mpmath import (
    atanh,
    cos,
    erf,
    erfc,
    exp,
    expm1,
    linspace,
    log1p,
    lu_solve,
    matrix,
    mp,
    mpf,
    pi,
    sqrt,
    tanh,
)

mp.dps = 40
Function = Callable[[mpf], mpf]


def remez(
    f: Function, weight: Function, low: mpf, high: mpf, degree: int, rounds: int = 12
) -> tuple[list[mpf], mpf]:
    """Coefficients (lowest first) minimising max |weight·(polynomial − f)|, and that maximum."""
    count = degree + 2
    nodes = [(low + high) / 2 - (high - low) / 2 * cos(pi * i / (count - 1)) for i in range(count)]
    grid = linspace(low, high, 2000)
    coefficients: list[mpf] = []

    def error(x: mpf) -> mpf:
        return weight(x) * (sum(c * x**k for k, c in enumerate(coefficients)) - f(x))

    for _ in range(rounds):
        system = matrix(count, count)
        for i, x in enumerate(nodes):
            for k in range(degree + 1):
                system[i, k] = x**k
            system[i, degree + 1] = (-1) ** i / weight(x)
        solution = lu_solve(system, matrix([f(x) for x in nodes]))
        coefficients = [solution[k] for k in range(degree + 1)]
        errors = [error(x) for x in grid]
        # One extremum for each run of equal sign, then the best alternating window of them.
        extrema: list[int] = []
        for i, e in enumerate(errors):
            if extrema and (e > 0) == (errors[extrema[-1]] > 0):
                if abs(e) > abs(errors[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        nodes = [grid[i] for i in extrema]
    return coefficients, max(abs(error(x)) for x in grid)


def expm1_tail(r: mpf) -> mpf:
    """(eʳ − 1 − r)/r²."""
    return (expm1(r) - r) / r**2 if abs(r) > mpf("1e-12") else mpf(1) / 2 + r / 6


def atanh_tail(z: mpf) -> mpf:
    """(atanh(s)/s − 1)/s² of z = s²."""
    s = sqrt(z)
    return (atanh(s) / s - 1) / z if z > mpf("1e-12") else mpf(1) / 3 + z / 5


def tanhshrink_tail(z: mpf) -> mpf:
    """(x − tanh x)/x³ of z = x²."""
    x = sqrt(z)
    return (x - tanh(x)) / x**3 if z > mpf("1e-12") else mpf(1) / 3 - 2 * z / 15


def mills(a: mpf) -> mpf:
    """e^(a²/2)·Φ(−a)."""
    return exp(a * a / 2) * erfc(a / sqrt(mpf(2))) / 2


def to_float32(x: float) -> float:
    return float(struct.unpack("f", struct.pack("f", x))[0])


def best_centre(
    f: Function, size: Function, coefficients: list[mpf], low: mpf, high: mpf
) -> tuple[mpf, list[mpf]]:
    """A polynomial of x in [low, high] around the centre where rounding it to float32 costs least.

    It is around the interval's middle now. Around another number it is the same polynomial, with
    other coefficients; where they happen to be almost float32 little is lost.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [half * i / 20 for i in range(-20, 21)]
    exact = [(float(h), float(f(middle + h)), float(size(middle + h))) for h in grid]
    degrees = range(len(coefficients))

    def around(step: float) -> list[float]:
        return [
            sum(math.comb(n, k) * float(coefficients[n]) * step ** (n - k) for n in degrees[k:])
            for k in degrees
        ]

    def loss(step: float) -> float:
        rounded = [to_float32(c) for c in around(step)]
        return max(
            abs(sum(c * (h - step) ** k for k, c in enumerate(rounded)) - value) / scale
            for h, value, scale in exact
        )

    steps = [float(half) * i / 1024 for i in range(-256, 257)]
    step = mpf(to_float32(float(middle) + min(steps, key=loss))) - middle
    shifted = [
        sum(mp.binomial(n, k) * coefficients[n] * step ** (n - k) for n in degrees[k:])
        for k in degrees
    ]
    return middle + step, shifted


@dataclass
class Polynomial:
    """f on [low, high] by one polynomial, its error times `weight`, which is 1/f if not given."""

    f: Function
    low: mpf
    high: mpf
    degree: int
    weight: Function | None = None
    scale: int = 1
    """What all coefficients are multiplied by."""

    def fit(self) -> tuple[list[mpf], mpf]:
        weight = self.weight or (lambda x: 1 / self.f(x))
        coefficients, error = remez(self.f, weight, mpf(self.low), mpf(self.high), self.degree)
        return [self.scale * c for c in coefficients], error

    def show(self) -> str:
        coefficients, error = self.fit()
        return f"error {mp.nstr(error, 2)}\n  " + ", ".join(map(digits, coefficients))


@dataclass
class Table:
    """f by polynomials around a centre in each of `count` pieces from first·width on.

    A row for the centres and one for each coefficient. Where f(0) is 0, f(x)/x is given too: the
    first piece has its centre at 0 then, so that its constant is 0. Errors are relative to |f|, but
    to no less than `floor`.
    """

    f: Function
    width: mpf | int = 0
    count: int = 16
    degree: int = 5
    over_x: Function | None = None
    floor: float = 0.0
    first: int = 0

    def interval(self, piece: int) -> tuple[mpf, mpf]:
        return piece * self.width, (piece + 1) * self.width

    def column(self, piece: int) -> tuple[list[mpf], mpf]:
        """Centre and coefficients of one piece, and the error."""
        low, high = self.interval(piece)
        if low == 0 and (over_x := self.over_x):
            higher, error = remez(over_x, lambda h: 1 / over_x(h), low, high, self.degree - 1)
            return [mpf(0), mpf(0), *higher], error

        def size(x: mpf) -> mpf:
            return max(abs(self.f(x)), mpf(self.floor))

        half, middle = (high - low) / 2, (low + high) / 2
        coefficients, error = remez(
            lambda h: self.f(middle + h), lambda h: 1 / size(middle + h), -half, half, self.degree
        )
        centre, coefficients = best_centre(self.f, size, coefficients, low, high)
        return [centre, *coefficients], error

    def show(self) -> str:
        columns, errors = zip(
            *(self.column(piece) for piece in range(self.first, self.first + self.count)),
            strict=True,
        )
        lines = ["errors " + ", ".join(mp.nstr(e, 2) for e in errors)]
        for row in zip(*columns, strict=True):
            lines.append("  {" + ", ".join(map(digits, row)) + "},")
        return "\n".join(lines)


@dataclass
class OctaveTable(Table):
    """f on [0, 15), in pieces as wide as x + 1 has octaves: their order is that of the lowest two
    bits of its exponent, then the highest ones of its mantissa.
    """

    def interval(self, piece: int) -> tuple[mpf, mpf]:
        in_octave = self.count // 4
        exponent, part = divmod(piece, in_octave)
        start = mpf(2) ** ((exponent + 1) % 4)  # 127, the exponent of 1, ends in two ones
        width = start / in_octave
        low = start + part * width - 1
        return low, low + width


def digits(coefficient: mpf) -> str:
    return str(mp.nstr(coefficient, 10))


def scaled_mills(s: mpf) -> mpf:
    """a·mills(a) of s = 1/a²."""
    a = 1 / sqrt(s)
    return a * mills(a)


def upper_tail(a: mpf) -> mpf:
    """Φ(−a)."""
    return erfc(a / sqrt(mpf(2))) / 2


def upper_tail_by_tanh(a: mpf) -> mpf:
    """σ(−u), gelu_tanh's approximation of it."""
    return 1 / (1 + exp(2 * sqrt(2 / pi) * (a + mpf("0.044715") * a**3)))


def gelu_slope_tail(a: mpf) -> mpf:
    """Φ(−a) − a·φ(a)."""
    return upper_tail(a) - a * exp(-a * a / 2) / sqrt(2 * pi)


def logistic(x: mpf) -> mpf:
    """σ(x)."""
    return 1 / (1 + exp(-x))


def silu_slope(x: mpf) -> mpf:
    """σ + x·σ'."""
    return logistic(x) * (1 + x * logistic(-x))


def mish_gate(x: mpf) -> mpf:
    """t(x) = tanh(log(1 + eˣ)); mish is x·t(x)."""
    return tanh(softplus(x))


def mish_slope(x: mpf) -> mpf:
    """t + x·t'."""
    t = mish_gate(x)
    return t + x * (1 - t * t) * logistic(x)


def softplus(x: mpf) -> mpf:
    return log1p(exp(x))


def scaled_tail_by_t(t: mpf) -> mpf:
    """Φ(−a)·e^(a²/2)/t, t = 1/(1 + a/√8)."""
    return mills((1 / t - 1) * sqrt(8)) / t


def erf_over_x(x: mpf) -> mpf:
    return erf(x) / x if x else 2 / sqrt(pi)


def tanh_over_x(x: mpf) -> mpf:
    return tanh(x) / x if x else mpf(1)


def half_erf(z: mpf) -> mpf:
    """(½ − Φ(−a))/a of z = a²."""
    a = sqrt(z)
    return (mpf(1) / 2 - upper_tail(a)) / a if z > mpf("1e-12") else (1 - z / 6) / sqrt(2 * pi)


QUARTER, HALF = mpf(1) / 4, mpf(1) / 2
REDUCED = mp.log(2) / 2 * mpf("1.001")
MILLS_CENTRE = mpf("1.880859375")  # where mills() is nearly a float32

POLYNOMIALS = {
    "expm1_tail": Polynomial(expm1_tail, -REDUCED, REDUCED, 4, weight=lambda r: r**2 + mpf("1e-6")),
    "log1p_unit": Polynomial(atanh_tail, mpf("1e-9"), mpf(1) / 9, 4, weight=lambda z: z, scale=2),
    "deficit_tail": Polynomial(tanhshrink_tail, 0, 1, 7),
    "mills_ratio": Polynomial(
        lambda h: mills(MILLS_CENTRE + h), -MILLS_CENTRE, mpf("3.76") - MILLS_CENTRE, 13
    ),
    "far_mills_ratio_times": Polynomial(
        scaled_mills, 1 / mpf("14.9") ** 2, 1 / mpf("3.75") ** 2, 7
    ),
    "scaled_normal_tail": Polynomial(scaled_tail_by_t, 1 / (1 + 38 / sqrt(8)), 1, 5),
    "upper_half": Polynomial(half_erf, mpf("1e-9"), QUARTER, 3, weight=sqrt),
}

TABLES = {
    "kGELUTail": Table(lambda a: a * upper_tail(a), QUARTER, 15, over_x=upper_tail),
    "kGELUSlopeTail": Table(gelu_slope_tail, QUARTER, 15, floor=0.05),
    "kGELUTanhTail": Table(
        lambda a: a * upper_tail_by_tanh(a), QUARTER, 14, over_x=upper_tail_by_tanh
    ),
    "kUpperTailByEight": Table(upper_tail, HALF, 8, degree=7),
    "kGELUSlopeTailByEight": Table(gelu_slope_tail, HALF, 8, degree=6, floor=0.05),
    "kErf": Table(erf, QUARTER, 16, degree=6, over_x=erf_over_x),
    "kErfByEight": Table(erf, HALF, 8, degree=7, over_x=erf_over_x),
    "kMills": OctaveTable(mills, degree=6),
    "kMillsByEight": OctaveTable(mills, count=8, degree=7),
    "kSoftplusTail": Table(lambda a: softplus(-a), HALF, 16),
    "kTanh": OctaveTable(tanh, degree=6, over_x=tanh_over_x),
    "kTanhByEight": OctaveTable(tanh, count=8, degree=8, over_x=tanh_over_x),
    "kLogisticTail": Table(lambda a: logistic(-a), HALF, 16),
    "kSiLUSlopeTail": Table(lambda a: silu_slope(-a), HALF, 16, degree=6, floor=0.05),
    "kMishGate": Table(mish_gate, HALF, 32, degree=6, first=-16),
    "kMishSlope": Table(mish_slope, HALF, 32, degree=6, floor=0.05, first=-16),
}

if __name__ == "__main__":
    everything = {**POLYNOMIALS, **TABLES}
    for name in sys.argv[1:] or everything:
        print(f"{name}: {everything[name].show()}", flush=True)
