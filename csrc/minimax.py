"""Prints the polynomials of math.h: `python csrc/minimax.py` (needs mpmath, which torch installs).

Each is the minimax polynomial (Remez exchange) of a smooth function, with the error weighted so
that it is relative to the value finally computed. The largest weighted error is printed beside it;
half an ULP of float32 is 6e-8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from mpmath import (
    atanh,
    cos,
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


def show(name: str, coefficients: list[mpf], error: mpf) -> None:
    print(f"{name}: error {mp.nstr(error, 3)}")
    print("  " + ", ".join(mp.nstr(c, 10) for c in coefficients))


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


def mills_numerator(t: mpf) -> mpf:
    """(a + 4)·mills(a) of t = (a − 4)/(a + 4): smooth and never small for 0 ≤ a."""
    a = 4 * (1 + t) / (1 - t)
    return (a + 4) * mills(a)


def to_float32(x: float) -> float:
    return float(struct.unpack("f", struct.pack("f", x))[0])


def best_centre(
    f: Function, size: Function, coefficients: list[mpf], low: mpf, high: mpf
) -> tuple[mpf, list[mpf]]:
    """The polynomial of x in [low, high] around the centre where rounding it to float32 costs least.

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


def show_pieces(
    name: str,
    f: Function,
    width: mpf,
    count: int,
    over_x: Function | None = None,
    degree: int = 5,
    floor: float = 0.0,
    first: int = 0,
) -> None:
    """f by polynomials around a centre in each of `count` pieces from first·width on.

    A row for the centres and one for each coefficient. Where f(0) is 0, f(x)/x is given too: the
    first piece has its centre at 0 then, so that its constant is 0. Errors are relative to |f|, but
    to no less than `floor`.
    """

    def size(x: mpf) -> mpf:
        return max(abs(f(x)), mpf(floor))

    columns, errors = [], []
    for piece in range(first, first + count):
        if piece == 0 and over_x:
            higher, error = remez(over_x, lambda h: 1 / over_x(h), mpf(0), width, degree - 1)
            columns.append([mpf(0), mpf(0), *higher])
        else:
            low = piece * width
            middle, half = low + width / 2, width / 2
            coefficients, error = remez(
                lambda h, c=middle: f(c + h), lambda h, c=middle: 1 / size(c + h), -half, half, degree
            )
            centre, coefficients = best_centre(f, size, coefficients, low, low + width)
            columns.append([centre, *coefficients])
        errors.append(error)
    print(f"{name}: errors " + ", ".join(mp.nstr(e, 2) for e in errors))
    for row in zip(*columns, strict=True):
        print("  {" + ", ".join(mp.nstr(c, 10) for c in row) + "},")


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


if __name__ == "__main__":
    half = mp.log(2) / 2 * mpf("1.001")
    show("expm1_tail", *remez(expm1_tail, lambda r: r**2 + mpf("1e-6"), -half, half, 4))
    show("atanh_tail", *remez(atanh_tail, lambda z: z, mpf("1e-9"), mpf(1) / 9, 4))
    show(
        "tanhshrink_tail",
        *remez(tanhshrink_tail, lambda z: 1 / tanhshrink_tail(z), mpf(0), mpf(1), 7),
    )
    top = (mpf("14.7") - 4) / (mpf("14.7") + 4)  # Φ(−14.7) is below the smallest float32
    show(
        "mills_numerator",
        *remez(mills_numerator, lambda t: 1 / mills_numerator(t), mpf(-1), top, 9),
    )
    quarter = mpf(1) / 4
    show_pieces("gelu", lambda a: a * upper_tail(a), quarter, 15, upper_tail)
    low, high = 1 / mpf("14.9") ** 2, 1 / mpf("3.75") ** 2
    show("scaled_mills", *remez(scaled_mills, lambda s: 1 / scaled_mills(s), low, high, 7))
    show_pieces("gelu_tanh", lambda a: a * upper_tail_by_tanh(a), quarter, 14, upper_tail_by_tanh)
    show_pieces("softplus", lambda a: softplus(-a), 2 * quarter, 16)
    show_pieces("gelu's slope", gelu_slope_tail, quarter, 15, floor=0.05)
    show_pieces("tanh", tanh, quarter, 16, lambda x: tanh(x) / x if x else mpf(1), degree=6)
    show_pieces("logistic", lambda a: logistic(-a), 2 * quarter, 16)
    show_pieces("silu's slope", lambda a: silu_slope(-a), 2 * quarter, 16, degree=6, floor=0.05)
    show_pieces("mish's gate", mish_gate, 2 * quarter, 32, degree=6, first=-16)
    show_pieces("mish's slope", mish_slope, 2 * quarter, 32, degree=6, floor=0.05, first=-16)
