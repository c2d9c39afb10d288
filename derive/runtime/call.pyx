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
from derive.runtime.layout cimport FIXED, INDEX, MASK, REAL, Extent, Layout, Slot, Trampoline

import numpy as np

from derive.runtime import called
from derive.runtime.checks import index_refusal, mask_refusal, refusal

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
        self.kernel, self.number, self.batched, self.plain = kernel, OTHER, True, True
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
                raise refusal(STEPS[k].name.decode("ascii"), called.Call(
                    self.kernel.arrays, self.binding, self.given, self.named, self.out,
                    self.saved, self.workspace, self.converted))
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

    # ---- arrays ----

    cdef int hold(self, int i, value) except -1:
        """Take the buffer of an array, of whatever numbers and strides."""
        cdef Place* place = &self.place[i]
        if type(value) is not ndarray:
            value = self.array_from(i, value)
        try:
            PyObject_GetBuffer(value, &place.view, PyBUF_FULL_RO)
        except (ValueError, BufferError):  # dates, for one
            self.keep(i, value)
            place.number = OTHER
            return 0
        place.number = number_of(&place.view)
        self.pointer[i] = place.view.buf
        span(place)
        return 0

    cdef object array_from(self, int i, value):
        """What is no array is made one once: it might not give the same array again."""
        cdef int base = self.kernel.declaration.base_of(i) if value is None else -1
        like = None if base < 0 or self.converted is None else self.converted.get(base)
        if base >= 0 and like is None:
            like = <object>self.place[base].view.obj
        array = called.array_of(self.kernel.arrays, i, value, self.binding, like)
        self.keep(i, array)
        return array

    cdef int keep(self, int i, array) except -1:
        if self.converted is None:
            self.converted = {}
        self.converted[i] = array
        return 0

    cdef bint holds_output(self, int i, value) except -1:
        """An array of the call's dtype that can be written into as it lies."""
        if not isinstance(value, ndarray):
            return False
        self.hold(i, value)
        return (self.place[i].number == self.number and not self.place[i].view.readonly
                and contiguous(&self.place[i].view))

    cdef int copy(self, int i, Number wanted) except -1:
        """Exchange an input for a contiguous copy; `low` and `high` stay the caller's memory."""
        cdef Place* place = &self.place[i]
        dtype = INT if wanted == INT64 else self.dtype()
        copied = np.array(<object>place.view.obj, dtype=dtype, order="C")
        PyBuffer_Release(&place.view)
        PyObject_GetBuffer(copied, &place.view, PyBUF_FULL_RO)
        self.pointer[i] = place.view.buf
        return 0

    cdef object dtype(self):
        return DTYPES[<int>self.number]

    # ---- sizes ----

    cdef bint read_sizes(self, int i) except -1:
        """Take the sizes that an argument is the first to show.

        False where it has an extent that is no size, or not the one that was read before.
        """
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t code
        cdef int axis, at = 0
        cdef bint plain = True
        for axis in range(slot.ndim):
            if axis == slot.batch and not self.batched:
                continue
            code = slot.extent[axis].code
            if code >= 0 and self.size[code] < 0:
                self.size[code] = self.place[i].view.shape[at]
            elif code < 0 or self.size[code] != self.place[i].view.shape[at]:
                plain = False
            at += 1
        return plain

    cdef tuple known(self):
        cdef int k
        if self.numbers is None:
            self.numbers = tuple([self.size[k] for k in range(self.kernel.sizes_count)])
        return self.numbers

    cdef Py_ssize_t extent(self, int i, int axis) except -2:
        """Behind the last axis is the bound of an index; -1 where it is too small or too large."""
        cdef Extent extent = self.kernel.slot[i].extent[axis]
        cdef Py_ssize_t value, least = i < self.kernel.outputs
        if extent.code >= 0:
            return self.size[extent.code]
        if extent.code == FIXED:
            return extent.value
        try:
            value = self.kernel.derived[extent.value](*self.known())
        except OverflowError:
            return -1
        return value if least <= value <= LARGEST else -1

    cdef tuple expected(self, int i):
        """The shape a leaf has at this call; None where it is too small or too large."""
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t count = 1, value
        cdef int axis
        cdef list shape = []
        for axis in range(slot.ndim):
            value = self.extent(i, axis)
            if value < 0 or (value > 0 and count > LARGEST // value):
                return None
            count *= max(value, 1)
            if self.batched or axis != slot.batch:
                shape.append(value)
        return tuple(shape)

    cdef bint fits(self, int i) except -1:
        """Whether an array has the shape of its leaf."""
        cdef Slot* slot = &self.kernel.slot[i]
        cdef int axis, at = 0
        if self.place[i].view.ndim != slot.ndim - (slot.batch >= 0 and not self.batched):
            return False
        for axis in range(slot.ndim):
            if axis == slot.batch and not self.batched:
                continue
            if self.extent(i, axis) != self.place[i].view.shape[at]:
                return False
            at += 1
        return True


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
        call.hold(i, call.values[i])
    return True


cdef bint dtypes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef Number number
    cdef int i
    call.number = (number_without_reals(call) if kernel.first_real < 0
                   else call.place[kernel.first_real].number)
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


cdef Number number_without_reals(Call call) except *:
    """A given result decides, else it is float64."""
    given = () if call.out is None else call.kernel.declaration.outputs(call.out)
    single = any([getattr(array, "dtype", None) == DTYPES[1] for array in given])
    return FLOAT32 if single else FLOAT64


cdef bint axes(Call call) except -1:
    cdef int i, less
    for i in range(call.kernel.inputs):
        less = call.kernel.slot[i].ndim - call.place[i].view.ndim
        if less != 0 and (less != 1 or call.kernel.slot[i].batch < 0):
            return False
    return True


cdef bint batch(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i
    cdef bint has = False, lacks = False
    for i in range(kernel.inputs):
        if kernel.slot[i].batch >= 0:
            if kernel.slot[i].ndim == call.place[i].view.ndim:
                has = True
            else:
                lacks = True
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
    cdef int i
    for i in range(kernel.inputs):
        call.plain = call.read_sizes(i) and call.plain
    for i in range(kernel.sizes_count):
        if call.size[i] < 1 and i != kernel.batch and i != kernel.steps:
            return False
    return True


cdef bint within(Call call) except -1:
    for extent in call.kernel.within:
        if extent(*call.known()) < 1:
            return False
    return True


cdef bint shapes(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i
    for i in range(kernel.inputs):
        if not call.plain and not call.fits(i):
            return False
        if kernel.slot[i].kind == INDEX:
            call.place[i].bound = call.extent(i, kernel.slot[i].ndim)
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
        return call.holds_output(i, call.saved) and call.fits(i)
    call.hold(i, call.saved)
    return call.place[i].number == call.number and call.fits(i)


cdef bint results(Call call) except -1:
    cdef Layout kernel = call.kernel
    cdef int i
    call.asked = call.out is None
    given = [] if call.out is None else listed(call)
    for i in range(kernel.inputs, kernel.outputs):
        if call.out is None:
            shape = call.expected(i)
            if shape is None:
                return False
            given.append((zeros if kernel.accumulate else empty)(shape, call.dtype()))
            call.hold(i, given[i - kernel.inputs])
            continue
        array = given[i - kernel.inputs]
        if array is not None or not kernel.accumulate:
            if not call.holds_output(i, array) or not call.fits(i):
                return False
            call.asked = True
    if kernel.single:
        call.results = given[0] if len(given) == 1 else tuple(given)
    else:
        call.results = kernel.declaration.gathered(given)
    return True


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
    cdef Py_ssize_t count = call.extent(i, 0)
    if count < 0:
        return False
    if call.workspace is not None:
        return (call.holds_output(i, call.workspace) and call.place[i].view.ndim == 1
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
    for i in range(kernel.slots):
        if i >= kernel.inputs and not (i == kernel.saved and kernel.reads):
            continue
        wanted = INT64 if kernel.slot[i].kind == INDEX else call.number
        if call.place[i].number != wanted or not contiguous(&call.place[i].view):
            if call.binding:
                return False
            call.copy(i, wanted)
    return True


cdef bint ranges(Call call) except -1:
    """Entries may change while they are looked at: what was seen here is told, not looked up."""
    cdef Layout kernel = call.kernel
    cdef int i
    cdef Py_ssize_t at, count
    if not kernel.ranged:
        return True
    for i in range(kernel.inputs):
        count = call.place[i].view.len // call.place[i].view.itemsize
        if kernel.slot[i].kind == INDEX:
            at = outside(<int64_t*>call.pointer[i], count, call.place[i].bound)
            if at >= 0:
                raise index_refusal(kernel.arrays, i, (<int64_t*>call.pointer[i])[at], at,
                                    call.place[i].bound)
        elif kernel.slot[i].kind == MASK:
            at = (not_binary(<double*>call.pointer[i], count) if call.number == FLOAT64
                  else not_binary(<float*>call.pointer[i], count))
            if at >= 0:
                raise mask_refusal(kernel.arrays, i, at)
    return True


cdef enum:
    COUNT = 15

cdef Step[COUNT] STEPS
STEPS = [
    Step("arguments", arguments), Step("arrays", arrays), Step("dtypes", dtypes),
    Step("axes", axes), Step("batch", batch), Step("keywords", keywords),
    Step("sizes", sizes), Step("within", within), Step("shapes", shapes),
    Step("saved", saved), Step("results", results), Step("workspace", workspace),
    Step("overlap", overlap), Step("copies", copies), Step("ranges", ranges),
]
NAMES = tuple([STEPS[k].name.decode("ascii") for k in range(COUNT)])
