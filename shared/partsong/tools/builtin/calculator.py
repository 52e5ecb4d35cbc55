"""The calculator: a grammar of numbers, operators and named functions, and nothing else to reach.

sum      := product (("+" | "-") product)*
product  := unary (("*" | "/" | "//" | "%") unary)*
unary    := ("+" | "-") unary | power
power    := postfix (("^" | "**") unary)?
postfix  := atom ("!" | "%")*
atom     := number | constant | function "(" [argument ("," argument)*] ")" | "(" sum ")"
argument := sum | "[" [sum ("," sum)*] "]"

`%` is the remainder if an operand follows, else per cent. Outside a function's arguments, `1,234` is one number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from partsong.contracts.errors import InvalidInput
from partsong.tools.builtin import exact
from partsong.tools.builtin.exact import Number, sane
from partsong.tools.tool import tool

__all__ = ["calculator", "evaluate"]

_LONGEST = 2000
_MOST_TOKENS = 500
_DEEPEST = 50

_SIGNS = str.maketrans(
    {
        "\N{MULTIPLICATION SIGN}": "*",
        "\N{MIDDLE DOT}": "*",
        "\N{DOT OPERATOR}": "*",
        "\N{DIVISION SIGN}": "/",
        "\N{DIVISION SLASH}": "/",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{GREEK SMALL LETTER PI}": " pi ",
    }
)
_NUMBER = r"(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]*)?"
_REST = r"(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<op>\*\*|//|[-+*/%^!(),\[\]])"
_INSIDE_CALL = re.compile(rf"(?P<number>{_NUMBER})|{_REST}")
_OUTSIDE_CALL = re.compile(rf"(?P<number>{_GROUPED}|{_NUMBER})|{_REST}")

_BINARY: dict[str, Callable[[Number, Number], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: Fraction(a // b),
    "%": exact.remainder,
}


@tool(side_effect="none", idempotent=True, timeout=5)
def calculator(
    expression: Annotated[str, Field(examples=["15% of 1,200", "sqrt(2)^2", "max(3, 4!)"])],
) -> str:
    """Evaluate an arithmetic expression exactly: 0.1 + 0.2 is 0.3.

    Operators + - * / // ^ ! and %, which is per cent (15% of 80), or the remainder if a number follows (7 % 3).
    Functions abs round floor ceil min max sum mean median sqrt cbrt exp ln log(x, base) log10 log2 sin cos tan asin acos
    atan atan2 sinh cosh tanh degrees radians hypot gcd lcm comb factorial mod pow; constants pi e tau.
    Angles are in radians, log is natural, round takes half away from zero.

    Args:
        expression: What to evaluate.
    """
    return exact.show(evaluate(expression))


def evaluate(expression: str) -> Number:
    """The value: a `Fraction` as long as it is rational, else a float.

    Raises:
        InvalidInput: `calculator.syntax`, `calculator.undefined` or `calculator.too_large`.
    """
    parser = _Parser(_tokens(expression.translate(_SIGNS)))
    try:
        value = parser.sum()
        if parser.now.text:
            raise _syntax(parser.now, "an operator is missing before it")
    except ZeroDivisionError:
        raise _undefined("division by zero") from None
    except OverflowError:
        raise _undefined("a number is too large to compute with") from None
    except ValueError as error:
        raise _undefined(str(error)) from None
    return value


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    """The expression in words; commas in numbers go, `of` is a multiplication."""
    if len(text) > _LONGEST:
        raise _too_long(f"{len(text)} characters, at most {_LONGEST} are taken")
    found: list[_Token] = []
    calls = [False]
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = (_INSIDE_CALL if calls[-1] else _OUTSIDE_CALL).match(text, at)
        if match is None or match.lastgroup is None:
            raise _syntax(_Token("", text[at], at), "it means nothing here")
        kind, word = match.lastgroup, match[0]
        if word == "of":
            kind, word = "op", "*"
        elif word in "([":
            calls.append((bool(found) and found[-1].kind == "name") or word == "[")
        elif word in ")]" and len(calls) > 1:
            calls.pop()
        found.append(_Token(kind, word, at))
        at = match.end()
    if len(found) > _MOST_TOKENS:
        raise _too_long(f"{len(found)} words, at most {_MOST_TOKENS} are taken")
    return [*found, _Token("end", "", at)]


class _Parser:
    """Evaluates while it reads; each rule of the grammar is one method."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._next, self._depth = tokens, 0, 0

    @property
    def now(self) -> _Token:
        return self._tokens[self._next]

    def sum(self) -> Number:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Number:
        return self._chain(("*", "/", "//", "%"), self._unary)

    def _chain(self, signs: tuple[str, ...], operand: Callable[[], Number]) -> Number:
        value = operand()
        while self.now.text in signs:
            sign = self._take().text
            value = sane(_BINARY[sign](value, operand()))
        return value

    def _unary(self) -> Number:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _too_long(f"nested deeper than {_DEEPEST} levels")
        try:
            if self.now.text in ("+", "-"):
                sign = self._take().text
                value = self._unary()
                return -value if sign == "-" else value
            return self._power()
        finally:
            self._depth -= 1

    def _power(self) -> Number:
        value = self._postfix()
        if self.now.text in ("^", "**"):
            self._take()
            value = sane(exact.power(value, self._unary()))
        return value

    def _postfix(self) -> Number:
        value = self._atom()
        while self.now.text == "!" or (self.now.text == "%" and not self._operand_follows()):
            sign = self._take()
            if sign.text == "!" == self.now.text:
                raise _syntax(self.now, "write (n!)! for a factorial's factorial")
            value = sane(exact.factorial(value) if sign.text == "!" else value / 100)
        return value

    def _operand_follows(self) -> bool:
        after = self._tokens[self._next + 1]
        return after.kind in ("number", "name") or after.text == "("

    def _atom(self) -> Number:
        token = self._take()
        if token.kind == "number":
            return sane(exact.literal(token.text.replace(",", "").replace("_", "")))
        if token.kind == "name":
            return self._call(token) if self.now.text == "(" else self._constant(token)
        if token.text == "(":
            value = self.sum()
            self._expect(")")
            return value
        raise _syntax(token, "a number is missing here")

    def _constant(self, token: _Token) -> Number:
        if token.text.lower() in exact.CONSTANTS:
            return exact.CONSTANTS[token.text.lower()]
        what = (
            "a function: write its arguments in parentheses"
            if token.text.lower() in exact.FUNCTIONS
            else "unknown"
        )
        raise _syntax(token, f"it is {what}")

    def _call(self, token: _Token) -> Number:
        function = exact.FUNCTIONS.get(token.text.lower())
        if function is None:
            raise _syntax(token, f"no such function; there are {', '.join(exact.FUNCTIONS)}")
        self._take()
        values: list[Number] = []
        while self.now.text != ")":
            values += self._argument()
            if self.now.text != ")":
                self._expect(",")
        self._take()
        if not function.least <= len(values) <= function.most:
            takes = (
                f"{function.least}"
                if function.least == function.most
                else f"{function.least} to {function.most}"
            )
            raise _syntax(token, f"it takes {takes} arguments, got {len(values)}")
        try:
            return _number(function.call(*values))
        except ValueError as error:
            given = ", ".join(map(exact.show, values))
            raise ValueError(f"{token.text}({given}): {error}") from None

    def _argument(self) -> list[Number]:
        if self.now.text != "[":
            return [self.sum()]
        self._take()
        values: list[Number] = []
        while self.now.text != "]":
            values.append(self.sum())
            if self.now.text != "]":
                self._expect(",")
        self._take()
        return values

    def _take(self) -> _Token:
        token = self.now
        self._next += token.kind != "end"
        return token

    def _expect(self, sign: str) -> None:
        if self.now.text != sign:
            raise _syntax(self.now, f"{sign!r} is missing before it")
        self._take()


def _number(value: Number | int) -> Number:
    return sane(Fraction(value) if isinstance(value, int) else value)


def _syntax(token: _Token, why: str) -> InvalidInput:
    found = repr(token.text) if token.text else "the end"
    return InvalidInput(
        "calculator.syntax",
        f"{found} at character {token.at + 1}: {why}",
        where="expression",
        fix="use numbers, + - * / ^ % !, parentheses and functions such as sqrt(2)",
    )


def _undefined(why: str) -> InvalidInput:
    return InvalidInput("calculator.undefined", why, where="expression")


def _too_long(why: str) -> InvalidInput:
    return InvalidInput(
        "calculator.too_long", why, where="expression", fix="split it into several expressions"
    )
