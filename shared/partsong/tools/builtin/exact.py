"""Numbers of the calculator: fractions as long as a value is rational, floats after that, and never too large.

Every result is checked, and what would be large is refused before it is computed: no expression can take more than
some milliseconds or kilobytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TypeAlias

from partsong.contracts.errors import InvalidInput

__all__ = [
    "CONSTANTS",
    "DIGITS",
    "FUNCTIONS",
    "Function",
    "Number",
    "factorial",
    "literal",
    "power",
    "remainder",
    "sane",
    "show",
]

Number: TypeAlias = Fraction | float

DIGITS = 1000
"""No number has more digits before the point, or more behind it."""
_BITS = 3322
_SHOWN_IN_FULL = 60
_ROUNDED = Context(prec=20, Emax=10**6, Emin=-(10**6))
_TINY = 1e-15


def sane(value: Number) -> Number:
    """The value, if it is finite and not too large.

    Raises:
        InvalidInput: `calculator.too_large`.
    """
    if isinstance(value, Fraction):
        fits = max(value.numerator.bit_length(), value.denominator.bit_length()) <= _BITS
    else:
        fits = math.isfinite(value)
    if not fits:
        raise _too_large()
    return value


def literal(text: str) -> Fraction:
    """A decimal literal, exactly: 0.1 is a tenth."""
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > DIGITS:
        raise _too_large()
    return Fraction(text)


def power(base: Number, exponent: Number) -> Number:
    """The base to the exponent; exact if both are, and the exponent is whole or a half."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        if exponent == Fraction(1, 2):
            return _sqrt(base)
    if base < 0:
        raise ValueError(f"{show(base)} to the power of {show(exponent)} is no real number")
    return math.pow(base, exponent)


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    if abs(base.numerator) <= 1 and base.denominator == 1:  # cheap for any exponent
        return base ** (exponent if exponent <= 0 else 2 - exponent % 2)
    least = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if least * abs(exponent) > _BITS:
        raise _too_large()
    return base**exponent


def remainder(left: Number, right: Number) -> Number:
    """What division leaves; it has the sign of the divisor."""
    return left % right


def factorial(value: Number) -> Number:
    """The factorial of a whole number."""
    n = _whole(value)
    if n < 0:
        raise ValueError(f"{n}! is not defined")
    if n > DIGITS:
        raise _too_large()
    return Fraction(math.factorial(n))


def show(value: Number) -> str:
    """Whole numbers and short decimals in full, anything else to 20 digits, or 15 if it is a float."""
    if isinstance(value, float):
        return format(value, ".15g").replace("e+", "e")
    if value.denominator == 1:
        return str(value.numerator)
    places = _places(value.denominator)
    if places is not None and places + len(str(value.numerator)) <= _SHOWN_IN_FULL:
        digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    rounded = _ROUNDED.divide(Decimal(value.numerator), Decimal(value.denominator))
    rounded = rounded.normalize(_ROUNDED)
    text = format(rounded, "f" if -8 < rounded.adjusted() < 20 else "e")
    return text.replace("e+", "e")


def _places(denominator: int) -> int | None:
    """How many decimals it takes; None if they never end."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _too_large() -> InvalidInput:
    return InvalidInput(
        "calculator.too_large",
        f"a number would have more than {DIGITS} digits",
        where="expression",
        fix="ask for something smaller, or for its logarithm",
    )


def _whole(value: Number) -> int:
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    raise ValueError(f"{show(value)} is no whole number")


def _sqrt(value: Number) -> Number:
    if value < 0:
        raise ValueError(f"the square root of {show(value)} is no real number")
    if isinstance(value, Fraction):
        over, under = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if over**2 == value.numerator and under**2 == value.denominator:
            return Fraction(over, under)
    return math.sqrt(value)


def _round(value: Number, places: Number = Fraction(0)) -> Number:
    """Half goes away from zero, as at school."""
    n = _whole(places)
    if abs(n) > DIGITS:
        raise _too_large()
    unit = Fraction(10) ** -n
    steps = math.floor(
        abs(Fraction(str(value)) if isinstance(value, float) else value) / unit + Fraction(1, 2)
    )
    return steps * unit if value >= 0 else -steps * unit


def _log(value: Number, base: Number | None = None) -> Number:
    if value <= 0:
        raise ValueError(f"the logarithm of {show(value)} is no real number")
    if base == 10:
        return math.log10(_near(value))
    if base == 2:
        return math.log2(_near(value))
    return math.log(_near(value)) if base is None else _log(value) / _log(base)


def _near(value: Number) -> int | float:
    """For logarithms, which take whole numbers of any size."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    return float(value)


def _circular(function: Callable[[float], float]) -> Callable[..., Number]:
    """Sine and its like, with 0 where only the rounding of pi keeps it from being 0."""

    def call(angle: Number) -> Number:
        radians = float(angle)
        value = function(radians)
        return 0.0 if abs(value) < _TINY * abs(radians) else value

    return call


def _sum(*values: Number) -> Number:
    total: Number = Fraction(0)
    for value in values:
        total = sane(total + value)
    return total


def _mean(*values: Number) -> Number:
    return _sum(*values) / len(values)


def _median(*values: Number) -> Number:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else _mean(*ordered[half - 1 : half + 1])


def _choose(n: Number, k: Number) -> Number:
    if _whole(n) > 3 * DIGITS:
        raise _too_large()
    return Fraction(math.comb(_whole(n), _whole(k)))


@dataclass(frozen=True, slots=True)
class Function:
    """A function by its name, and how many arguments it takes."""

    call: Callable[..., Number]
    least: int = 1
    most: int = 1


_MANY = 1000

FUNCTIONS: dict[str, Function] = {
    "abs": Function(lambda x: max(x, -x)),
    "acos": Function(math.acos),
    "asin": Function(math.asin),
    "atan": Function(math.atan),
    "atan2": Function(math.atan2, 2, 2),
    "cbrt": Function(math.cbrt),
    "ceil": Function(lambda x: Fraction(math.ceil(x))),
    "comb": Function(_choose, 2, 2),
    "cos": Function(_circular(math.cos)),
    "cosh": Function(math.cosh),
    "degrees": Function(math.degrees),
    "exp": Function(math.exp),
    "factorial": Function(factorial),
    "floor": Function(lambda x: Fraction(math.floor(x))),
    "gcd": Function(lambda *xs: Fraction(math.gcd(*map(_whole, xs))), 1, _MANY),
    "hypot": Function(math.hypot, 1, _MANY),
    "lcm": Function(lambda *xs: Fraction(math.lcm(*map(_whole, xs))), 1, 10),
    "ln": Function(_log),
    "log": Function(_log, 1, 2),
    "log10": Function(lambda x: _log(x, Fraction(10))),
    "log2": Function(lambda x: _log(x, Fraction(2))),
    "max": Function(max, 1, _MANY),
    "mean": Function(_mean, 1, _MANY),
    "median": Function(_median, 1, _MANY),
    "min": Function(min, 1, _MANY),
    "mod": Function(remainder, 2, 2),
    "pow": Function(power, 2, 2),
    "radians": Function(math.radians),
    "round": Function(_round, 1, 2),
    "sin": Function(_circular(math.sin)),
    "sinh": Function(math.sinh),
    "sqrt": Function(_sqrt),
    "sum": Function(_sum, 1, _MANY),
    "tan": Function(_circular(math.tan)),
    "tanh": Function(math.tanh),
}

CONSTANTS: dict[str, float] = {"e": math.e, "pi": math.pi, "tau": math.tau}
