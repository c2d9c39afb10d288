"""Every check of a call, in its order, with its law and its sentence.

`CHECKS` is the table.  A row is a function: its name, what must hold (the docstring), and how the
call is refused where it doesn't (TypeError or ValueError).  An edge without a compiler runs the
rows one after the other.  The compiled edge, `steps.pyx`, has a step of the same name for each row,
which only says whether the row would raise; a call that doesn't pass a step is handed to the table,
which raises.
"""

from __future__ import annotations

import operator
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from derive.runtime.called import DTYPES, INT, Array, Call
from derive.runtime.declare import BATCH, MAY_BE_ZERO, Declaration
from derive.runtime.sentences import axes_sentence, batch_sentence, extent_name
from derive.runtime.slots import Slots


def check(call: Call) -> Call:
    """The call, after the whole table: nothing of the caller's is written meanwhile."""
    for row in CHECKS:
        row(call)
    return call


def refusal(
    step: str,
    converted: dict[int, Array],
    slots: Slots,
    binding: bool,
    given: tuple[Any, ...],
    /,
    **named: Any,
) -> Exception:
    """Why a call does not pass a step of the compiled edge, which has converted some arrays.

    The exception has no traceback, whose frames would hold the arrays as long as it is kept.
    """
    call = Call(slots, binding, given, **named)
    call.converted = converted
    try:
        check(call)
    except Exception as error:
        return error.with_traceback(None)
    text = (
        f"the compiled edge does not pass this call at its step {step!r}, and the checks in Python "
        "find nothing wrong with it. Unless another thread has changed an array meanwhile, this is "
        "a mistake of layerwise: please report the call"
    )
    return slots.refused(text, RuntimeError)


# --- what is read


def arguments(call: Call) -> None:
    """Each argument is given once, by place or by name; a direct product is a tuple of arrays."""
    given, call.keywords = call.declaration.ordered(call.given, call.named)
    call.values = call.declaration.values(given)


def arrays(call: Call) -> None:
    """Each is an array in main memory or gives one; None is a direction; bind takes arrays only."""
    for slot, value in enumerate(call.values):
        call.arrays[slot] = call.array(slot, value)


def dtypes(call: Call) -> None:
    """All real arrays are float64, or all float32; indices are integers; masks that or bool.

    The first real argument decides, without one a given result.  Every array is aligned.
    """
    first = call.slots.first_real
    if first < 0:
        call.dtype = dtype_without_reals(call.declaration, call.out)
    else:
        call.dtype = call.arrays[first].dtype
        fits = call.dtype in DTYPES
        call.require_dtype(first, call.arrays[first], fits, "float64 or float32")
    for slot, leaf, array in call.inputs():
        dtype, same = array.dtype, bool(array.dtype == call.dtype)
        if leaf.kind == "index":
            call.require_dtype(slot, array, dtype.kind in "iu" and dtype.isnative, "integers")
        elif leaf.kind == "mask":
            call.require_dtype(slot, array, same or dtype == np.bool_, f"{call.dtype} or bool")
        else:
            name = call.slots.leaves[first].name
            call.require_dtype(slot, array, same, f"{call.dtype} (the dtype of {name})")


def dtype_without_reals(declaration: Declaration, out: Any) -> Any:
    """That of a given result, else float64."""
    given = [] if out is None else declaration.outputs(out)
    return DTYPES[any(getattr(array, "dtype", None) == DTYPES[1] for array in given)]


def axes(call: Call) -> None:
    """Arguments have the axes that they declare; that of the batch have all of them or none.

    Where none may have it, as for a layer of parameters alone, a call is for one point.
    """
    lacking = []
    for _, leaf, array in call.inputs():
        less = len(leaf.extents) - array.ndim
        if less != 0 and (less != 1 or leaf.batch < 0):
            raise call.slots.refused(axes_sentence(leaf, array.shape))
        lacking += [less] if leaf.batch >= 0 else []
    if any(lacking) and not all(lacking):
        raise call.slots.refused(batch_sentence(call.slots.leaves, call.shapes()))
    alone = BATCH in call.declaration.sizes and BATCH not in call.keywords and not lacking
    if any(lacking) or alone:
        call.batched, call.sizes[BATCH] = False, 1


def keywords(call: Call) -> None:
    """Sizes that no argument shows are given by keyword, as whole numbers from 0 on."""
    for name in call.declaration.required:
        if name not in call.keywords:
            raise call.slots.refused(f"size {name} is not known, give it as {name}=", TypeError)
    for name, given in call.keywords.items():
        value = _whole(given)
        if value is None:
            text = f"size {name} = {given!r} is not a whole number in range"
            raise call.slots.refused(text, TypeError)
        if value < 0 or (name == BATCH and not call.batched and value != 1):
            raise call.slots.refused(f"size {name} = {value} does not fit")
        call.sizes[name] = value


def _whole(given: Any) -> int | None:
    with suppress(TypeError):
        value = operator.index(given)
        return value if -sys.maxsize - 1 <= value <= sys.maxsize else None
    return None


def sizes(call: Call) -> None:
    """Every size is at least 1, those of samples and times at least 0."""
    for _, leaf, array in call.inputs():
        for extent, found in zip(leaf.shown(call.batched), array.shape, strict=True):
            if isinstance(extent, str):
                call.sizes.setdefault(extent, found)
    for name, value in call.known().items():
        if value < 1 and name not in MAY_BE_ZERO:
            raise call.slots.refused(f"{call.origins()[name]}, must be at least 1")


def within(call: Call) -> None:
    """Every extent within the layer is at least 1: no window is larger than its image."""
    for extent in call.slots.within:
        if (value := extent(*call.known().values())) < 1:
            raise call.slots.refused(
                f"within the layer an axis has extent {extent_name(extent)} = {value}, must be at "
                f"least 1; sizes are {call.listed()}"
            )


def shapes(call: Call) -> None:
    """Every argument has the shape that it declares, at these sizes."""
    for slot, leaf, array in call.inputs():
        call.require_shape(slot, array)
        if leaf.kind == "index":
            call.extent(slot, len(leaf.extents))


# --- what is written


def saved(call: Call) -> None:
    """Of the size and dtype of this call where the kernel saves; given where it reads."""
    slot, value = call.slots.saved, call.saved
    if slot < 0:
        return _nothing_saved(call)
    if value is None and call.slots.reads_saved:
        text = "give the array that forward(..., saved=array) has filled at these arguments"
        raise call.slots.refused(f"saved is missing: {text}", TypeError)
    if value is not None:
        array = (call.array if call.slots.reads_saved else call.written)(slot, value)
        call.require_dtype(slot, array, array.dtype == call.dtype, str(call.dtype))
        call.require_shape(slot, array)
        call.arrays[slot] = array


def _nothing_saved(call: Call) -> None:
    """No array, or one of `saved_size(..)` = 0 elements."""
    shape = getattr(call.saved, "shape", None)
    if call.saved is not None and shape != (0,):
        found = type(call.saved).__name__ if shape is None else f"an array of shape {shape}"
        text = "saved_size is 0, so saved is None or an array of shape (0,), found"
        raise call.slots.refused(f"takes no saved values: {text} {found}", TypeError)


def results(call: Call) -> None:
    """Results have the dtype and shape of this call, are contiguous, aligned and writeable.

    Where they are added into `out`, those that are None there are not computed.
    """
    slots, adds = range(call.slots.inputs, call.slots.outputs), call.slots.accumulates
    if call.out is None:
        make = np.zeros if adds else np.empty
        given: list[Any] = [make(call.expected(slot), call.dtype) for slot in slots]
    else:
        given = call.declaration.outputs(call.out)
        call.asked = not adds or any(value is not None for value in given)
    for slot, value in zip(slots, given, strict=True):
        if value is not None or not adds:
            call.arrays[slot] = call.written(slot, value)
            call.require_shape(slot, call.arrays[slot])
    call.results = call.declaration.gathered(given)


def workspace(call: Call) -> None:
    """A workspace has one axis, long enough, and is otherwise as results are."""
    slot = call.slots.workspace
    count = call.extent(slot, 0)
    if call.workspace is None:
        call.arrays[slot] = np.empty(count, call.dtype) if count else None
        return
    array = call.arrays[slot] = call.written(slot, call.workspace)
    if array.ndim != 1 or len(array) < count:
        text = f"has shape {array.shape}, needs one axis of {count} or more"
        raise call.slots.wrong(slot, text)


def overlap(call: Call) -> None:
    """No array that is written shares memory with another one."""
    there = [slot for slot, array in enumerate(call.arrays) if array is not None]
    for i in there[call.slots.inputs :]:
        if i == call.slots.saved and call.slots.reads_saved:
            continue
        for j in there:
            if j != i and np.may_share_memory(call.arrays[i], call.arrays[j]):
                text = f"is written to and overlaps {call.slots.leaves[j].name}"
                raise call.slots.wrong(i, text)


# --- as the kernel reads it


def copies(call: Call) -> None:
    """The kernel reads contiguous arrays of its dtypes: others are copied, and bind takes none."""
    for slot, leaf, array in call.inputs():
        call.arrays[slot] = _as_read(call, slot, array, INT if leaf.kind == "index" else call.dtype)
    if call.slots.reads_saved:
        slot = call.slots.saved
        call.arrays[slot] = _as_read(call, slot, call.arrays[slot], call.dtype)


def _as_read(call: Call, slot: int, array: Array, dtype: Any) -> Array:
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    if call.binding:
        text = f"is {array.dtype} with strides {array.strides}; bind needs it as C-contiguous"
        raise call.slots.wrong(slot, f"{text} {dtype} (np.ascontiguousarray(..., dtype))")
    return np.array(array, dtype=dtype, order="C")


def ranges(call: Call) -> None:
    """Indices are at least 0 and below their bound, masks are 0 or 1."""
    for slot, leaf, array in call.inputs():
        flat = array.ravel()
        if leaf.kind == "index":
            bound = call.extent(slot, len(leaf.extents))
            for place in np.flatnonzero((flat < 0) | (flat >= bound))[:1]:
                raise index_refusal(call.slots, slot, flat[place], place, bound)
        elif leaf.kind == "mask":
            for place in np.flatnonzero((flat != 0) & (flat != 1))[:1]:
                raise mask_refusal(call.slots, slot, place)


def index_refusal(slots: Slots, slot: int, value: int, place: int, bound: int) -> Exception:
    """Of an index out of range."""
    text = f"has index {value} at place {place}, must be at least 0 and below {bound}"
    return slots.wrong(slot, text)


def mask_refusal(slots: Slots, slot: int, place: int) -> Exception:
    """Of an entry of a mask."""
    return slots.wrong(slot, f"is a mask and is neither 0 nor 1 at place {place}")


CHECKS = (
    *(arguments, arrays, dtypes, axes, keywords, sizes, within, shapes),
    *(saved, results, workspace, overlap, copies, ranges),
)
