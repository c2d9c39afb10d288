r"""Reads a formula in LaTeX as a person does and computes it: the judge of parentheses.

Nothing is shared with what wrote it.  Juxtaposition binds tighter than \odot and \oslash, these
tighter than + and -; a factor of \odot that is a product itself must be in parentheses, but for
numbers in front of the first.
"""

import re
from collections.abc import Mapping

import numpy as np
from latex_values import (
    Linear,
    Ones,
    Transposed,
    Unreadable,
    Value,
    applied,
    is_number,
    one,
    plus,
    tensor,
    times,
)

from derive.language.scalars.shipped import shipped


def read(latex: str, symbols: Mapping[str, Value], functions, forms, **sizes: int) -> Value:
    """The value of the formula, symbols and forms by how they look, functions by their names.

    A form is called with its factors, or with a None among them and a cotangent; the argmax of a
    form, one of `forms` by how it looks, with an array, and gives the places of all its indices.
    """
    return _Reader(latex, symbols, functions, forms, sizes).whole()


class _Reader:
    def __init__(self, latex, symbols, functions, forms, sizes):
        known = sorted([*symbols, *forms], key=len, reverse=True)
        names = "|".join(re.escape(name) for name in known)
        words = r"\\operatorname\{(?:[^{}]|\\_)*\}|\\mathbf\{1\}|\\[A-Za-z]+|\\."
        self.tokens = re.findall(rf"(?:{names})(?![A-Za-z])|{words}|\d+|\S", latex)
        skipped = (r"\,", r"\bigl", r"\bigr", r"\biggl", r"\biggr")
        self.tokens = [token for token in self.tokens if token not in skipped]
        self.symbols, self.functions, self.forms = symbols, {**shipped, **functions}, forms
        self.sizes, self.place = sizes, 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def next(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise Unreadable(f"expected {token} before {self.tokens[self.place :]}")

    def whole(self) -> Value:
        value = self.sum()
        if self.peek():
            raise Unreadable(f"nothing can be made of {self.tokens[self.place :]}")
        return value

    def sum(self) -> Value:
        sign = -1 if self.peek() == "-" else 1
        self.place += sign == -1
        value = times(sign, self.chain()) if sign == -1 else self.chain()
        while self.peek() in ("+", "-"):
            sign = 1 if self.next() == "+" else -1
            value = plus(value, times(sign, self.chain()))
        return value

    def chain(self) -> Value:
        r"""a \odot b \odot c, a \oslash b, or one product."""
        factors = self.product()
        if self.peek() not in (r"\odot", r"\oslash"):
            return applied(factors)
        while len(factors) > 1 and is_number(factors[0]):
            factors = [times(factors[0], factors[1]), *factors[2:]]
        value, quotient = self.alone(factors), False
        while self.peek() in (r"\odot", r"\oslash"):
            if quotient:
                raise Unreadable("a quotient goes on without parentheses")
            quotient = self.next() == r"\oslash"
            right = self.alone(self.product())
            value = value / right if quotient else value * right
        return value

    def alone(self, factors: list[Value]) -> Value:
        if len(factors) != 1:
            raise Unreadable(r"a product is a factor of \odot without parentheses")
        return np.ones(()) if isinstance(factors[0], Ones) else factors[0]

    def product(self) -> list[Value]:
        """Factors side by side."""
        factors = [self.factor()]
        while self.peek() and self.peek() not in (
            "+",
            "-",
            r"\odot",
            r"\oslash",
            ",",
            ";",
            ")",
            "}",
        ):
            if self.peek() in (r"\rangle", r"\rVert"):
                break
            if self.peek() == r"\otimes":
                self.next()
                return [tensor(applied(factors), applied(self.product()))]
            factors.append(self.factor())
        return factors

    def factor(self) -> Value:
        value = self.atom()
        while self.peek() == "^":
            value = self.power(value)
        if self.peek() == r"\cdot":
            self.next()
            if not isinstance(value, Linear):
                raise Unreadable(r"what stands before \cdot is no linear map")
        return value

    def power(self, value: Value) -> Value:
        self.expect("^")
        self.expect("{")
        text = ""  # without spaces
        while self.peek() != "}":
            text += self.next()
        self.expect("}")
        if isinstance(value, Linear):
            return Linear(value.adjoint, value.apply)
        if text in (r"\mathsfT", "*"):
            return Transposed(value if isinstance(value, Ones) else np.asarray(value))
        numerator, _, denominator = re.sub(r"\\odot|[()]", "", text).partition("/")
        if (r"\odot" in text) != (np.ndim(value) > 0):
            raise Unreadable("a power of a vector has its sign, and that of a number has none")
        return value ** (int(numerator) / int(denominator or 1))

    def atom(self) -> Value:
        token = self.next()
        if token in self.symbols:
            return self.symbols[token]
        if re.fullmatch(r"\d+", token):
            return np.float64(token)
        if token == "(":
            return self.hooked() if self.is_hooked() else self.bracket()
        if token in self.forms and token.startswith(r"\operatorname{argmax}"):
            bracket = self.peek() == "(" and self.next()
            return self.forms[token](self.bracket() if bracket else self.factor())
        if token in self.forms:
            return self.form(self.forms[token])
        if token == r"\mathbf{1}":
            return Ones()
        if token == r"\langle":
            return self.inner()
        if token == r"\lVert":
            x = self.sum()
            self.expect(r"\rVert")
            return np.sqrt(np.sum(x * x))
        if token in (r"\frac", r"\sqrt"):
            first = self.group()
            return np.sqrt(first) if token == r"\sqrt" else first / self.group()
        if token == r"\pi":
            return self.projection() if self.peek() == "_" else np.float64(np.pi)
        if token == "e":
            return self.unit()
        return self.function(token)

    def group(self) -> Value:
        self.expect("{")
        value = self.sum()
        self.expect("}")
        return value

    def bracket(self) -> Value:
        values = [self.sum()]
        while self.peek() == ",":
            self.next()
            values.append(self.sum())
        self.expect(")")
        return values[0] if len(values) == 1 else tuple(values)

    def inner(self) -> Value:
        left = self.sum()
        self.expect(",")
        right = self.sum()
        self.expect(r"\rangle")
        return np.sum(one(left) * one(right))

    def unit(self) -> Value:
        self.expect("_")
        return np.eye(self.sizes["unit"])[int(self.group())]

    def projection(self) -> Value:
        self.expect("_")
        position = int(self.group()) - 1
        stack = np.eye(self.sizes["stack"])[position]
        return Linear(lambda x: x[position], lambda x: np.multiply.outer(stack, x))

    # --- forms: C(K, x), (K _| C), (C |_ x), C(K, ., y; k)

    def is_hooked(self) -> bool:
        """A hook stands in this bracket, and not in one within."""
        depth = 1
        for token in self.tokens[self.place :]:
            depth += (token == "(") - (token == ")")
            if depth == 0 or (depth == 1 and "corner" in token):
                return depth > 0
        return False

    def hook(self) -> str:
        self.expect(r"\mathbin")
        self.expect("{")
        corner = self.next()
        self.expect("}")
        return corner

    def hooked(self) -> Linear:
        if self.peek() in self.forms:
            form = self.forms[self.next()]
            corner, given = self.hook(), [None, one(self.factor())]
        else:
            given, corner = [one(self.factor()), None], self.hook()
            form = self.forms[self.next()]
        if corner != (r"\llcorner" if given[0] is None else r"\lrcorner"):
            raise Unreadable("the hook points away from the form")
        self.expect(")")
        return self.linear(form, given)

    def form(self, form) -> Value:
        """The form at its factors, or the linear map that it is in the one that is a dot."""
        if self.peek() != "(":
            return self.linear(form, [None])
        self.next()
        given: list[Value] = []
        while not given or self.next() in ",;":
            dot = self.peek() == r"\cdot"
            given.append(self.next() and None if dot else one(self.sum()))
        return self.linear(form, given) if any(x is None for x in given) else form(given)

    def linear(self, form, given: list[Value]) -> Linear:
        slot = next(k for k, x in enumerate(given) if x is None)
        filled = [*given[:slot], *given[slot + 1 :]]
        return Linear(
            lambda x: form([*filled[:slot], x, *filled[slot:]]),
            lambda u: form([*filled[:slot], None, *filled[slot:]], u),
        )

    def function(self, token: str) -> Value:
        partial: list[int] = []
        while token == r"\partial":
            self.expect("_")
            argument = int(self.group()) - 1
            partial.append(argument)
            if self.peek() == "^":
                self.next()
                partial += [argument] * (int(self.group()) - 1)
            token = self.next()
        name = re.sub(r"\\operatorname\{(.*)\}|\\(\w+)", r"\1\2", token).replace("\\", "")
        if name == "argmax":
            return np.argmax(self.bracket() if self.peek() == "(" else self.factor())
        primes = 0
        while self.peek() == "'":
            primes += bool(self.next())
        if name == "max":
            return np.max(self.argument())
        if name == "diag":
            return np.diag(self.argument())
        if name not in self.functions:
            raise Unreadable(f"{token} is not known")
        psi = self.functions[name]
        for argument in [*partial, *([0] * primes)]:
            psi = psi.derivative(argument)
        given = self.argument()
        return psi(*given) if isinstance(given, tuple) else psi(given)

    def argument(self) -> Value:
        self.expect("(")
        return self.bracket()
