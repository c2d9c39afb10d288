"""Types of the compiled edge; what each does is said in edge.pyx and layout.pyx."""

from collections.abc import Callable
from inspect import Signature
from typing import Any

from derive.runtime.declare import Argument as Argument
from derive.runtime.declare import Declaration
from derive.runtime.declare import Leaf as Leaf

CONVENTION: int

class Kernel:
    declaration: Declaration
    name: str
    sizes: tuple[str, ...]
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    mode: str
    saved_role: str | None
    __signature__: Signature
    def __init__(
        self,
        name: str,
        doc: str = "",
        *,
        sizes: tuple[str, ...],
        arguments: tuple[Argument, ...],
        results: tuple[Argument, ...],
        mode: str = "overwrite",
        saved: Callable[..., int] | None = None,
        saved_role: str | None = None,
        workspace: Callable[..., int] | None = None,
        within: tuple[Callable[..., int], ...] = (),
        float64: int,
        float32: int,
    ) -> None: ...
    def __call__(
        self, *given: Any, out: Any = None, saved: Any = None, workspace: Any = None, **named: Any
    ) -> Any: ...
    def bind(
        self, *given: Any, out: Any = None, saved: Any = None, workspace: Any = None, **named: Any
    ) -> Bound: ...
    def saved_size(self, **sizes: int) -> int: ...
    def workspace_size(self, **sizes: int) -> int: ...

class Bound:
    kernel: Kernel
    results: Any
    def __call__(self) -> Any: ...

def admit(name: str, convention: int, source_hash: str, path: str, features: str) -> None: ...
