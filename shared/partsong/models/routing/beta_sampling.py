"""Draws from a Beta distribution that a seed fixes for good.

Own arithmetic and no library's generator: what a seed of an old log means must not change with a version of Python.
Every name gets a sequence of its own, so a draw does not depend on who else takes part.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

__all__ = ["draw_beta"]

_MASK = (1 << 64) - 1


def draw_beta(seed: int, name: str, good: float, bad: float) -> float:
    """One draw from Beta(good, bad); both must be positive."""
    numbers = _uniforms(int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]))
    x, y = _gamma(numbers, good), _gamma(numbers, bad)
    return x / (x + y) if x + y > 0 else good / (good + bad)


def _uniforms(state: int) -> Iterator[float]:
    """SplitMix64, as numbers above 0 and below 1."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        yield ((z ^ (z >> 31)) >> 11 | 1) / (1 << 53)


def _gamma(numbers: Iterator[float], shape: float) -> float:
    """Marsaglia and Tsang's method; shapes below 1 by their boost."""
    if shape < 1:
        return _gamma(numbers, shape + 1) * math.pow(next(numbers), 1 / shape)
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = math.sqrt(-2 * math.log(next(numbers))) * math.cos(2 * math.pi * next(numbers))
        v = (1 + c * x) ** 3
        if v > 0 and math.log(next(numbers)) < x * x / 2 + d - d * v + d * math.log(v):
            return d * v
