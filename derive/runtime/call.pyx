# cython: language_level=3
"""The compiled edge: whether a call of a kernel passes, read off the buffers of its arrays.

Each step has the name and the place of a row of `derive/runtime/checks.py`, where its law stands.
It is true where that row raises nothing, and makes no sentence: a call that does not pass a step is
handed to the table, which says why.  Nothing of the caller's is written before the last step.
"""

from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from derive.runtime.buffers cimport (
    BOOL, FLOAT32, FLOAT64, INT64, INTEGER, OTHER, Number, Place, contiguous, not_binary,
    number_of, outside, overlapping, span, taken)
from derive.runtime.interrupt cimport Watch, unwatch, watch
from derive.runtime.layout cimport FIXED, INDEX, MASK, REAL, Extent, Layout, Shown, Slot, Trampoline

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
cdef tuple DTYPES = called.DTYPES
cdef object INT = called.INT
cdef Py_ssize_t LARGEST = called.LARGEST

cdef struct Step:
    const char* name
    bint (*passes)(Call) except -1


cdef class Call:
    """Buffers of all arrays of one call, the sizes read off them, and the results."""

    def __cinit__(self, Layout kernel):
        cdef int i
        self.kernel, self.number, self.batched = kernel, OTHER, True
        self.size = <Py_ssize_t*>taken(kernel.sizes_count, sizeof(Py_ssize_t))
        self.place = <Place*>taken(kernel.slots, sizeof(Place))
        self.pointer = <void**>taken(kernel.slots, sizeof(void*))
        for i in range(kernel.sizes_count):
            self.size[i] = -1

    def __dealloc__(self):
        if self.place != NULL:
            self.release()
        PyMem_Free(self.place)
        PyMem_Free(self.pointer)
        PyMem_Free(self.size)
        free(self.own)

    cdef int release(self) except -1:
        """Let go of all arrays."""
        cdef int i
        for i in range(self.kernel.slots):
            PyBuffer_Release(&self.place[i].view)
        return 0

    cdef int fill(self, tuple given, dict named, out, saved, workspace) except -1:
        """Take the steps in their order.  Raises what the table of checks raises."""
        cdef int k
        self.given, self.named = given, named
        self.out, self.saved, self.workspace = out, saved, workspace
        for k in range(COUNT):
            if not STEPS[k].passes(self):
                self.release()
                raise refusal(
                    NAMES[k], self.converted or {}, self.kernel.arrays, self.binding, self.given,
                    out=self.out, saved=self.saved, workspace=self.workspace, **self.named)
        return 0

    cdef int run(self) except -1:
        """Run the kernel, where it has anything to write; a signal handler may end it early."""
        cdef Trampoline trampoline = self.kernel.trampoline[<int>self.number]
        cdef Watch own
        if not self.asked:
            return 0
        watch(&own)
        with nogil:
            trampoline(self.size, self.pointer)
        return unwatch(&own)


cdef object dtype_of(Call call):
    return DTYPES[<int>call.number]


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


cdef int hold(Call call, int i, value) except -1:
    """Take the buffer of an array, of whatever numbers and strides."""
    cdef Place* place = &call.place[i]
    if type(value) is not ndarray:
        value = converted(call, i, value)
    try:
        PyObject_GetBuffer(value, &place.view, PyBUF_FULL_RO)
    except (ValueError, BufferError):  # dates, for one
        keep(call, i, value)
        place.number = OTHER
        return 0
    place.number = number_of(&place.view)
    call.pointer[i] = place.view.buf
    span(place)
    return 0


cdef object converted(Call call, int i, value):
    """What is no array is made one once: it might not give the same array again."""
    cdef int base = call.kernel.declaration.base_of(i) if value is None else -1
    like = None if base < 0 or call.converted is None else call.converted.get(base)
    if base >= 0 and like is None:
        like = <object>call.place[base].view.obj
    return keep(call, i, called.array_of(call.kernel.arrays, i, value, call.binding, like))


cdef object keep(Call call, int i, array):
    if call.converted is None:
        call.converted = {}
    call.converted[i] = array
    return array


cdef bint dtypes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Number number
    cdef int i
    if kernel.first_real >= 0:
        call.number = call.place[kernel.first_real].number
    else:
        dtype = dtype_without_reals(kernel.declaration, call.out)
        call.number = FLOAT64 if dtype == DTYPES[0] else FLOAT32
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


cdef tuple known(Call call):
    """The sizes as Python numbers."""
    cdef int k
    if call.numbers is None:
        call.numbers = tuple([call.size[k] for k in range(call.kernel.sizes_count)])
    return call.numbers


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


cdef bint fits(Call call, int i) except -1:
    """Whether an array has the shape of its leaf."""
    cdef Slot* slot = &call.kernel.slot[i]
    cdef int axis, at = 0
    if call.place[i].view.ndim != slot.ndim - (slot.batch >= 0 and not call.batched):
        return False
    for axis in range(slot.ndim):
        if call.batched or axis != slot.batch:
            if extent(call, i, axis) != call.place[i].view.shape[at]:
                return False
            at += 1
    return True


cdef inline Py_ssize_t extent(Call call, int i, int axis) except -2:
    """Behind the last axis is the bound of an index; -1 where it is too small or too large."""
    cdef Extent* extent = &call.kernel.slot[i].extent[axis]
    if extent.code >= 0:
        return call.size[extent.code]
    return extent.value if extent.code == FIXED else derived(call, i, extent.value)


cdef Py_ssize_t derived(Call call, int i, Py_ssize_t which) except -2:
    cdef Py_ssize_t value, least = i < call.kernel.outputs
    try:
        value = call.kernel.derived[which](*known(call))
    except OverflowError:
        return -1
    return value if least <= value <= LARGEST else -1


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


cdef int copy(Call call, int i, dtype) except -1:
    """Exchange an input for a contiguous copy of it."""
    cdef Py_buffer* view = &call.place[i].view
    copied = np.array(<object>view.obj, dtype=dtype, order="C")
    PyBuffer_Release(view)
    PyObject_GetBuffer(copied, view, PyBUF_FULL_RO)
    call.pointer[i] = view.buf
    return 0


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
STEPS = [
    Step("arguments", arguments), Step("arrays", arrays), Step("dtypes", dtypes),
    Step("axes", axes), Step("keywords", keywords), Step("sizes", sizes),
    Step("within", within), Step("shapes", shapes), Step("saved", saved),
    Step("results", results), Step("workspace", workspace), Step("overlap", overlap),
    Step("copies", copies), Step("ranges", ranges),
]
NAMES = tuple([STEPS[k].name.decode("ascii") for k in range(COUNT)])
