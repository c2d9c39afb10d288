# cython: language_level=3
"""The compiled edge: whether a call of a kernel passes, read off the buffers of its arrays.

Each step has the name and the place of a row of `derive/runtime/checks.py`, where its law stands.
It is true where that row raises nothing, and makes no sentence: a call that does not pass a step is
handed to the table, which says why.  Nothing of the caller's is written before the last step.
"""

from libc.stdint cimport int64_t

from derive.runtime.buffers cimport (
    BOOL, FLOAT32, FLOAT64, INT64, INTEGER, Number, Place, contiguous, not_binary, outside,
    overlapping)
from derive.runtime.call cimport Call, copy, dtype_of, extent, fits, hold, known
from derive.runtime.layout cimport INDEX, MASK, REAL, Layout, Shown, Slot

import numpy as np

from derive.runtime import called
from derive.runtime.checks import dtype_without_reals, index_refusal, mask_refusal, refusal

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef enum:
    ALIGNMENT = 64         # of a workspace made here, in bytes

cdef type ndarray = np.ndarray
cdef object empty = np.empty
cdef object zeros = np.zeros
cdef object INT = called.INT
cdef Py_ssize_t LARGEST = called.LARGEST

ctypedef bint (*Step)(Call) except -1


# ---- the steps: what is read ----


cdef bint arguments(Call call) except -1:
    cdef Layout kernel = call.kernel
    if call.named or len(call.given) != kernel.arguments_count:
        call.given, call.named = kernel.declaration.ordered(call.given, call.named)
    call.values = call.given if kernel.alone else kernel.declaration.values(call.given)
    return True


cdef bint arrays(Call call) except -1:
    cdef int i
    for i in range(call.kernel.inputs):
        hold(call, i, call.values[i])
    return True


cdef bint dtypes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Number number
    cdef int i
    if kernel.first_real >= 0:
        call.number = call.place[kernel.first_real].number
    else:
        dtype = dtype_without_reals(kernel.declaration, call.out)
        call.number = FLOAT64 if dtype == np.float64 else FLOAT32
    if call.number != FLOAT64 and call.number != FLOAT32:
        return False
    for i in range(kernel.inputs):
        number = call.place[i].number
        if kernel.slot[i].kind == INDEX:
            if number != INT64 and number != INTEGER:
                return False
        elif number != call.number and (kernel.slot[i].kind == REAL or number != BOOL):
            return False
    return True


cdef bint axes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i, less
    cdef bint has = False, lacks = False
    for i in range(kernel.inputs):
        less = kernel.slot[i].ndim - call.place[i].view.ndim
        if less != 0 and (less != 1 or kernel.slot[i].batch < 0):
            return False
        has = has or (less == 0 and kernel.slot[i].batch >= 0)
        lacks = lacks or less == 1
    if kernel.batch >= 0 and not has and (lacks or "batch" not in call.named):
        call.batched = False
        call.size[kernel.batch] = 1
    return not (has and lacks)


cdef bint keywords(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Py_ssize_t value
    cdef int k
    for name in kernel.asked:
        if name not in call.named:
            return False
    for name, given in call.named.items():
        k = kernel.declaration.sizes.index(name)
        try:
            value = given
        except (TypeError, OverflowError):
            return False
        if value < 0 or (k == kernel.batch and not call.batched and value != 1):
            return False
        call.size[k] = value
    return True


cdef bint sizes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Shown* shown
    cdef bint less
    cdef int k
    for k in range(kernel.sizes_count):
        if call.size[k] < 0:
            shown = &kernel.shown[k]
            less = not call.batched and 0 <= kernel.slot[shown.slot].batch < shown.axis
            call.size[k] = call.place[shown.slot].view.shape[shown.axis - less]
        if call.size[k] < 1 and k != kernel.batch and k != kernel.steps:
            return False
    return True


cdef bint within(Call call) except -1:
    for value in call.kernel.within:
        if value(*known(call)) < 1:
            return False
    return True


cdef bint shapes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i
    for i in range(kernel.inputs):
        if not fits(call, i):
            return False
        if kernel.slot[i].kind == INDEX:
            call.place[i].bound = extent(call, i, kernel.slot[i].ndim)
            if call.place[i].bound < 0:
                return False
    return True


# ---- the steps: what is written ----


cdef bint saved(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i = kernel.saved
    if i < 0:
        return call.saved is None or getattr(call.saved, "shape", None) == (0,)
    if call.saved is None:
        return not kernel.reads
    if not kernel.reads:
        return is_written(call, i, call.saved) and fits(call, i)
    hold(call, i, call.saved)
    return call.place[i].number == call.number and fits(call, i)


cdef bint is_written(Call call, int i, value) except -1:
    """An array of the call's dtype that can be written into as it lies."""
    if not isinstance(value, ndarray):
        return False
    hold(call, i, value)
    return (call.place[i].number == call.number and not call.place[i].view.readonly
            and contiguous(&call.place[i].view))


cdef bint results(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i
    call.asked = call.out is None
    found = made(call) if call.out is None else listed(call)
    if found is None:
        return False
    for i in range(kernel.inputs, kernel.outputs):
        array = found[i - kernel.inputs]
        if call.out is None:
            hold(call, i, array)
        elif array is not None or not kernel.accumulate:
            if not is_written(call, i, array) or not fits(call, i):
                return False
            call.asked = True
    if kernel.single:
        call.results = found[0] if len(found) == 1 else tuple(found)
    else:
        call.results = kernel.declaration.gathered(found)
    return True


cdef object made(Call call):
    """New arrays; None where one would be too small or too large."""
    cdef Slot* slot
    cdef Py_ssize_t count, value
    cdef int i, axis
    cdef list shape, found = []
    for i in range(call.kernel.inputs, call.kernel.outputs):
        slot, count, shape = &call.kernel.slot[i], 1, []
        for axis in range(slot.ndim):
            value = extent(call, i, axis)
            if value < 0 or (value > 0 and count > LARGEST // value):
                return None
            count *= max(value, 1)
            if call.batched or axis != slot.batch:
                shape.append(value)
        found.append((zeros if call.kernel.accumulate else empty)(shape, dtype_of(call)))
    return found


cdef object listed(Call call):
    """One array or None for each leaf of the results."""
    cdef Layout kernel = call.kernel
    cdef int count = kernel.outputs - kernel.inputs
    if kernel.single and count == 1 and type(call.out) is ndarray:
        return (call.out,)
    if kernel.single and type(call.out) is tuple and len(<tuple>call.out) == count:
        return call.out
    return kernel.declaration.outputs(call.out)


cdef bint workspace(Call call) except -1:
    cdef int i = call.kernel.workspace
    cdef Py_ssize_t count = extent(call, i, 0)
    if count < 0:
        return False
    if call.workspace is not None:
        return (is_written(call, i, call.workspace) and call.place[i].view.ndim == 1
                and call.place[i].view.shape[0] >= count)
    if count:
        call.own = call.pointer[i] = aligned_alloc(
            ALIGNMENT, (8 * count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
        if call.own == NULL:
            raise MemoryError(f"{call.kernel.name}: no memory for a workspace of {count}")
    return True


cdef bint overlap(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i, j
    for i in range(kernel.inputs, kernel.slots):
        if i == kernel.saved and kernel.reads:
            continue
        for j in range(kernel.slots):
            if j != i and overlapping(&call.place[i], &call.place[j]):
                return False
    return True


# ---- the steps: as the kernel reads it ----


cdef bint copies(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Number wanted
    cdef int i
    for i in range(kernel.outputs + 1):
        if i >= kernel.inputs and not (i == kernel.saved and kernel.reads):
            continue
        wanted = INT64 if kernel.slot[i].kind == INDEX else call.number
        if call.place[i].number != wanted or not contiguous(&call.place[i].view):
            if call.binding:
                return False
            copy(call, i, INT if wanted == INT64 else dtype_of(call))
    return True


cdef bint ranges(Call call) except -1:
    """Entries may change while they are looked at, so what was seen here is what is said."""
    cdef Layout kernel = call.kernel
    cdef Place* place
    cdef int i
    cdef Py_ssize_t at, count
    if not kernel.ranged:
        return True
    for i in range(kernel.inputs):
        place = &call.place[i]
        count = place.view.len // place.view.itemsize
        if kernel.slot[i].kind == INDEX:
            at = outside(<int64_t*>place.view.buf, count, place.bound)
            if at >= 0:
                raise index_refusal(kernel.arrays, i, (<int64_t*>place.view.buf)[at], at, place.bound)
        elif kernel.slot[i].kind == MASK:
            at = (not_binary(<double*>place.view.buf, count) if call.number == FLOAT64
                  else not_binary(<float*>place.view.buf, count))
            if at >= 0:
                raise mask_refusal(kernel.arrays, i, at)
    return True


cdef enum:
    COUNT = 14

cdef Step[COUNT] STEPS
NAMES = []


cdef int add(name, Step step) except -1:
    STEPS[len(NAMES)] = step
    NAMES.append(name)
    return 0


add("arguments", arguments)
add("arrays", arrays)
add("dtypes", dtypes)
add("axes", axes)
add("keywords", keywords)
add("sizes", sizes)
add("within", within)
add("shapes", shapes)
add("saved", saved)
add("results", results)
add("workspace", workspace)
add("overlap", overlap)
add("copies", copies)
add("ranges", ranges)
assert len(NAMES) == COUNT


cdef int fill(Call call) except -1:
    """Take the steps in their order.  Raises what the table of checks raises."""
    cdef int k
    for k in range(COUNT):
        if not STEPS[k](call):
            call.release()
            raise refusal(
                NAMES[k], call.converted or {}, call.kernel.arrays, call.binding, call.given,
                out=call.out, saved=call.saved, workspace=call.workspace, **call.named)
    return 0
