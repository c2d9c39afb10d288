"""The rules of a reading one by one, to be taken out and replaced by damaged ones."""

from collections.abc import Callable
from dataclasses import dataclass

from derive.calculus.calculus import Pull, Tangent
from derive.calculus.lift import Lifted
from derive.calculus.structure import Derivative
from derive.language.reading import KINDS, Reading

Rule = Callable[..., object]


@dataclass(frozen=True)
class Rules:
    """A reading's rules as functions of a node and of what the reading knows.

    That is some of its attributes, which it is made with; or else the reading itself.
    """

    name: str
    reading: type[Reading]
    known: tuple[str, ...] = ()

    def of(self, node: type) -> Rule:
        """The rule of one kind of node as it is now."""
        method = getattr(self.reading, KINDS[node])
        if not self.known:
            return lambda e, reading: method(reading, e)
        return lambda e, *known: method(self.reading(*known), e)

    def put(self, node: type, other: Rule) -> Callable[[], None]:
        """Puts another rule in for one kind of node; what is returned puts the old one back."""
        reading, kind = self.reading, KINDS[node]
        plain = reading.__dict__[kind]

        def method(self_: Reading, e: object) -> object:
            return (
                other(e, *(getattr(self_, k) for k in self.known))
                if self.known
                else other(e, self_)
            )

        setattr(reading, kind, method)
        return lambda: setattr(reading, kind, plain)


TANGENTS = Rules("tangent", Tangent, ("d",))
PULLS = Rules("pull", Pull, ("u", "dependent"))
LIFTS = Rules("lift", Lifted)
TERMS = Rules("terms", Derivative)
