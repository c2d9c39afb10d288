# cython: language_level=3
"""The arrays of one call of a kernel, and every check of them.

`fill` is the order of the checks; nothing of the caller's is written before the last has passed.
Sentences about what is wrong are made in methods of their own, outside the fast path.
"""

from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.stdint cimport int64_t
from libc.stdlib cimport free

from derive.runtime.buffers cimport (
    BOOL, FLOAT32, FLOAT64, INT64, INTEGER, OTHER, Number, Place, contiguous, not_binary,
    number_of, outside, overlap, shape_of, span, taken)
from derive.runtime.interrupt cimport Watch, unwatch, watch
from derive.runtime.layout cimport FIXED, INDEX, MASK, REAL, Extent, Kind, Layout, Slot, Trampoline

import numpy as np

from derive.runtime.declare import (
    axes_sentence, batch_sentence, check_nothing_saved, extent_name, origins, shape_sentence)

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef enum:
    ALIGNMENT = 64         # of a workspace made here, in bytes

cdef type ndarray = np.ndarray
cdef object masked = np.ma.MaskedArray
cdef object empty = np.empty
cdef object zeros = np.zeros
cdef tuple DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
cdef object INT = np.dtype(np.int64)
cdef Py_ssize_t LARGEST = (<size_t>-1 >> 1) // 8   # elements an array may have


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
        cdef int i
        if self.place != NULL:
            for i in range(self.kernel.slots):
                PyBuffer_Release(&self.place[i].view)
        PyMem_Free(self.place)
        PyMem_Free(self.pointer)
        PyMem_Free(self.size)
        free(self.own)

    cdef int fill(self, tuple given, dict named, out, saved, workspace) except -1:
        self.take_arguments(given, named)
        self.settle_number(out)
        self.settle_batch()
        self.settle_sizes()
        self.take_saved(saved)
        self.take_results(out)
        self.take_workspace(workspace)
        self.check_overlap()
        self.copy_inputs()
        if self.kernel.ranged:
            self.check_ranges()
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

    # ---- inputs ----

    cdef int take_arguments(self, tuple given, dict named) except -1:
        cdef Layout kernel = self.kernel
        cdef int argument, leaf = 0
        if named or len(given) != kernel.arguments_count:
            given, self.keywords = kernel.declaration.ordered(given, named)
        for argument in range(kernel.arguments_count):
            if kernel.width[argument] == 1:
                self.hold(leaf, given[argument])
                leaf += 1
                continue
            for value in kernel.declaration.parts(
                    kernel.declaration.arguments[argument], given[argument]):
                self.hold(leaf, value)
                leaf += 1
        return 0

    cdef int hold(self, int i, value) except -1:
        """Take the buffer of an array, of whatever numbers and strides."""
        cdef Place* place = &self.place[i]
        if type(value) is not ndarray:
            value = self.array_from(i, value)
        try:
            PyObject_GetBuffer(value, &place.view, PyBUF_FULL_RO)
        except (ValueError, BufferError):
            raise TypeError(
                self.sentence(i, f"has dtype {value.dtype}, expected numbers")) from None
        place.number = number_of(&place.view)
        self.pointer[i] = place.view.buf
        span(place)
        return 0

    cdef object array_from(self, int i, value):
        """An array that shares the memory of anything else; a new one for lists and numbers.

        A direction that is None is zeros like the array that it is a direction of.
        """
        kind = type(value).__name__
        if value is None:
            base = self.kernel.declaration.base_of(i)
            if base < 0:
                raise TypeError(self.sentence(i, "is None, expected an array"))
            return np.zeros_like(<object>self.place[<int>base].view.obj)
        if isinstance(value, masked):
            raise TypeError(self.sentence(i, "is a masked array; pass its data and a mask"))
        if isinstance(value, ndarray):
            return np.asarray(value)
        if self.binding:
            raise TypeError(self.sentence(i, f"is a {kind}; bind holds NumPy arrays "
                                          "(np.asarray shares the memory of a tensor)"))
        try:
            return np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
        except Exception as error:
            raise TypeError(self.sentence(
                i, f"is a {kind} that gives no array in main memory: {error}")) from error

    cdef int settle_number(self, out) except -1:
        """The dtype: that of the first real array; then every array has to have it."""
        cdef Layout kernel = self.kernel
        cdef Number number
        cdef int i, first = -1
        for i in range(kernel.inputs):
            if kernel.slot[i].kind == REAL:
                first = i
                break
        if first >= 0:
            self.number = self.place[first].number
            self.require_number(first, first)
        else:
            self.number = number_without_reals(
                () if out is None else kernel.declaration.outputs(out))
        for i in range(kernel.inputs):
            number = self.place[i].number
            if kernel.slot[i].kind == REAL:
                self.require_number(i, first)
            elif kernel.slot[i].kind == INDEX and number != INT64 and number != INTEGER:
                self.refuse_number(i, "integers")
            elif kernel.slot[i].kind == MASK and number != self.number and number != BOOL:
                self.refuse_number(i, f"{self.dtype()} or bool")
        return 0

    cdef int require_number(self, int i, int first) except -1:
        if self.number != FLOAT64 and self.number != FLOAT32:
            self.refuse_number(i, "float64 or float32")
        if self.place[i].number != self.number:
            leaf = f" (the dtype of {self.kernel.leaves[first].name})" if 0 <= first != i else ""
            self.refuse_number(i, f"{self.dtype()}{leaf}")
        return 0

    cdef int refuse_number(self, int i, expected) except -1:
        cdef Kind kind = self.kernel.slot[i].kind
        dtype = (<object>self.place[i].view.obj).dtype
        fits = dtype.kind in "iu" if kind == INDEX else dtype in DTYPES
        if fits and self.place[i].number == OTHER and dtype.isnative:
            raise ValueError(self.sentence(i, "is misaligned; pass a copy of it"))
        raise TypeError(self.sentence(i, f"has dtype {dtype}, expected {expected}"))

    cdef int settle_batch(self) except -1:
        """Either all arguments that may have a batch axis have it, or none of them.

        Where none may have it, as for a layer of parameters alone, a call is for one point.
        """
        cdef Layout kernel = self.kernel
        cdef int i, less, with_batch = 0, without_batch = 0
        for i in range(kernel.inputs):
            less = kernel.slot[i].ndim - self.place[i].view.ndim
            if less != 0 and (less != 1 or kernel.slot[i].batch < 0):
                raise ValueError(f"{kernel.name}: " + axes_sentence(
                    kernel.leaves[i], shape_of(&self.place[i].view)))
            with_batch += less == 0 and kernel.slot[i].batch >= 0
            without_batch += less
        if with_batch and without_batch:
            raise ValueError(f"{kernel.name}: " + batch_sentence(kernel.leaves, self.shapes()))
        given = self.keywords is not None and "batch" in self.keywords
        if without_batch or (kernel.batch >= 0 and not with_batch and not given):
            self.batched = False
            self.size[kernel.batch] = 1
        return 0

    # ---- sizes ----

    cdef int settle_sizes(self) except -1:
        cdef Layout kernel = self.kernel
        cdef int i
        cdef bint plain = True
        self.take_keywords()
        for i in range(kernel.inputs):
            plain = self.read_sizes(i) and plain
        self.check_sizes()
        if kernel.within:
            self.check_within()
        for i in range(kernel.inputs):
            if not plain:
                self.check_shape(i)
            if kernel.slot[i].kind == INDEX:
                self.place[i].bound = self.extent(i, kernel.slot[i].ndim)
        return 0

    cdef int take_keywords(self) except -1:
        cdef Layout kernel = self.kernel
        cdef Py_ssize_t value
        cdef int place
        for name in kernel.asked:
            if self.keywords is None or name not in self.keywords:
                raise TypeError(f"{kernel.name}: size {name} is not known, give it as {name}=")
        if self.keywords is None:
            return 0
        for name, given in self.keywords.items():
            place = kernel.declaration.sizes.index(name)
            try:
                value = given
            except (TypeError, OverflowError):
                raise TypeError(f"{kernel.name}: size {name} = {given!r} is not a whole number "
                                "in range") from None
            if value < 0 or (place == kernel.batch and not self.batched and value != 1):
                raise ValueError(f"{kernel.name}: size {name} = {value} does not fit")
            self.size[place] = value
        return 0

    cdef bint read_sizes(self, int i) except -1:
        """Compare the plain extents of an argument with the sizes; new ones are taken from it.

        False where it has other extents too.
        """
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t code
        cdef int axis, at = 0
        cdef bint plain = True
        for axis in range(slot.ndim):
            if axis == slot.batch and not self.batched:
                continue
            code = slot.extent[axis].code
            if code < 0:
                plain = False
            elif self.size[code] < 0:
                self.size[code] = self.place[i].view.shape[at]
            elif self.size[code] != self.place[i].view.shape[at]:
                self.refuse_shape(i)
            at += 1
        return plain

    cdef int check_sizes(self) except -1:
        """Every size is at least 1, those of samples and times at least 0."""
        cdef Layout kernel = self.kernel
        cdef int i
        for i in range(kernel.sizes_count):
            if self.size[i] < 1 and i != kernel.batch and i != kernel.steps:
                known = origins(kernel.leaves, self.shapes(), self.keywords or {}, self.batched)
                name = kernel.declaration.sizes[i]
                raise ValueError(f"{kernel.name}: {known[name]}, must be at least 1")
        return 0

    cdef int check_within(self) except -1:
        """Every extent within the layer is at least 1: no window is larger than its image."""
        cdef Layout kernel = self.kernel
        cdef int k
        sizes = tuple([self.size[k] for k in range(kernel.sizes_count)])
        for function in kernel.within:
            if (value := function(*sizes)) < 1:
                raise ValueError(
                    f"{kernel.name}: within the layer an axis has extent "
                    f"{extent_name(function)} = {value}, must be at least 1; sizes are "
                    f"{listed(self.known_sizes())}")
        return 0

    # ---- shapes ----

    cdef Py_ssize_t extent(self, int i, int axis) except -1:
        cdef Extent extent = self.kernel.slot[i].extent[axis]
        if extent.code >= 0:
            return self.size[extent.code]
        return extent.value if extent.code == FIXED else self.derive(i, axis, extent.value)

    cdef Py_ssize_t derive(self, int i, int axis, Py_ssize_t which) except -1:
        cdef Layout kernel = self.kernel
        cdef Py_ssize_t value, least = i < kernel.outputs
        cdef int k
        if self.values is None:
            self.values = tuple([self.size[k] for k in range(kernel.sizes_count)])
        function = kernel.derived[which]
        try:
            value = function(*self.values)
        except OverflowError:
            value = LARGEST + 1
        if value < least:
            raise ValueError(self.sentence(
                i, f"has extent {extent_name(function)} = {value} on axis {axis}, "
                f"must be at least {least}; sizes are {listed(self.known_sizes())}"))
        if value > LARGEST:
            raise ValueError(self.sentence(i, f"is too large at {listed(self.known_sizes())}"))
        return value

    cdef tuple expected(self, int i):
        """The shape a leaf has at this call; ValueError where it has too many elements."""
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t count = 1, value
        cdef int axis
        cdef list shape = []
        for axis in range(slot.ndim):
            value = self.extent(i, axis)
            if value > 0 and count > LARGEST // value:
                raise ValueError(self.sentence(i, f"is too large at {listed(self.known_sizes())}"))
            count *= max(value, 1)
            if self.batched or axis != slot.batch:
                shape.append(value)
        return tuple(shape)

    cdef int check_shape(self, int i) except -1:
        cdef Slot* slot = &self.kernel.slot[i]
        cdef int axis, at = 0
        if self.place[i].view.ndim != slot.ndim - (slot.batch >= 0 and not self.batched):
            self.refuse_shape(i)
        for axis in range(slot.ndim):
            if axis == slot.batch and not self.batched:
                continue
            if self.extent(i, axis) != self.place[i].view.shape[at]:
                self.refuse_shape(i)
            at += 1
        return 0

    cdef int refuse_shape(self, int i) except -1:
        cdef Layout kernel = self.kernel
        cdef int j
        for j in range(i, kernel.inputs):
            self.learn(j)
        known = origins(kernel.leaves, self.shapes(), self.keywords or {}, self.batched)
        raise ValueError(f"{kernel.name}: " + shape_sentence(
            kernel.leaves[i], shape_of(&self.place[i].view), self.expected(i), self.batched, known))

    cdef int learn(self, int i) except -1:
        """The sizes that only this and later arguments show, for a sentence."""
        cdef int place
        leaf = self.kernel.leaves[i]
        for extent, found in zip(leaf.shown(self.batched), shape_of(&self.place[i].view)):
            if isinstance(extent, str):
                place = self.kernel.declaration.sizes.index(extent)
                self.size[place] = found if self.size[place] < 0 else self.size[place]
        return 0

    # ---- outputs ----

    cdef int take_results(self, out) except -1:
        cdef Layout kernel = self.kernel
        cdef int i
        self.asked = out is None
        if out is None:
            arrays = [self.make(i) for i in range(kernel.inputs, kernel.outputs)]
        else:
            arrays = self.listed_out(out)
            for i in range(kernel.inputs, kernel.outputs):
                array = arrays[i - kernel.inputs]
                if array is not None or not kernel.accumulate:
                    self.hold_output(i, array)
                    self.check_shape(i)
                    self.asked = True
        if kernel.single:
            self.results = arrays[0] if len(arrays) == 1 else tuple(arrays)
        else:
            self.results = kernel.declaration.gathered(arrays)
        return 0

    cdef object make(self, int i):
        make = zeros if self.kernel.accumulate else empty
        array = make(self.expected(i), self.dtype())
        self.hold(i, array)
        return array

    cdef object listed_out(self, out):
        """One array or None for each leaf of the results."""
        cdef Layout kernel = self.kernel
        cdef int count = kernel.outputs - kernel.inputs
        if kernel.single and count == 1 and type(out) is ndarray:
            return (out,)
        if kernel.single and type(out) is tuple and len(<tuple>out) == count:
            return out
        return kernel.declaration.outputs(out)

    cdef int take_saved(self, saved) except -1:
        cdef Layout kernel = self.kernel
        if kernel.saved < 0:
            check_nothing_saved(kernel.name, saved)
            return 0
        if kernel.reads and saved is None:
            raise TypeError(f"{kernel.name}: saved is missing: give the array that "
                            "forward(..., saved=array) has filled at these arguments")
        if saved is None:
            return 0
        if kernel.reads:
            self.hold(kernel.saved, saved)
            self.require_number(kernel.saved, -1)
        else:
            self.hold_output(kernel.saved, saved)
        return self.check_shape(kernel.saved)

    cdef int take_workspace(self, workspace) except -1:
        cdef int i = self.kernel.workspace
        cdef size_t count = self.extent(i, 0)
        if workspace is not None:
            self.hold_output(i, workspace)
            if self.place[i].view.ndim != 1 or <size_t>self.place[i].view.shape[0] < count:
                raise ValueError(self.sentence(i, f"has shape {shape_of(&self.place[i].view)}, "
                                               f"needs one axis of {count} or more"))
        elif count:
            self.own = self.pointer[i] = aligned_alloc(
                ALIGNMENT, (8 * count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
            if self.own == NULL:
                raise MemoryError(f"{self.kernel.name}: no memory for a workspace of {count}")
        return 0

    cdef int hold_output(self, int i, value) except -1:
        if value is None or not isinstance(value, ndarray):
            raise TypeError(self.sentence(
                i, f"is given as {type(value).__name__}, must be a NumPy array to be written to"))
        self.hold(i, value)
        self.require_number(i, -1)
        if self.place[i].view.readonly:
            raise ValueError(self.sentence(i, "is read-only"))
        if not contiguous(&self.place[i].view):
            raise ValueError(self.sentence(i, "is written to and must be C-contiguous"))
        return 0

    # ---- memory and values ----

    cdef int check_overlap(self) except -1:
        """No array that is written shares memory with another one."""
        cdef Layout kernel = self.kernel
        cdef int i, j
        for i in range(kernel.inputs, kernel.slots):
            if i == kernel.saved and kernel.reads:
                continue
            for j in range(kernel.slots):
                if j != i and overlap(&self.place[i], &self.place[j]):
                    raise ValueError(self.sentence(
                        i, f"is written to and overlaps {kernel.leaves[j].name}"))
        return 0

    cdef int copy_inputs(self) except -1:
        cdef Layout kernel = self.kernel
        cdef Number wanted
        cdef int i
        for i in range(kernel.inputs):
            wanted = INT64 if kernel.slot[i].kind == INDEX else self.number
            if self.place[i].number != wanted or not contiguous(&self.place[i].view):
                self.copy(i, wanted)
        if kernel.reads and not contiguous(&self.place[kernel.saved].view):
            self.copy(kernel.saved, self.number)
        return 0

    cdef int copy(self, int i, Number wanted) except -1:
        """Exchange an input for a contiguous copy; `low` and `high` stay the caller's memory."""
        cdef Place* place = &self.place[i]
        array = <object>place.view.obj
        dtype = INT if wanted == INT64 else self.dtype()
        if self.binding:
            raise ValueError(self.sentence(
                i, f"is {array.dtype} with strides {array.strides}; bind needs it as "
                f"C-contiguous {dtype} (np.ascontiguousarray(..., dtype))"))
        copied = np.array(array, dtype=dtype, order="C")
        PyBuffer_Release(&place.view)
        PyObject_GetBuffer(copied, &place.view, PyBUF_FULL_RO)
        self.pointer[i] = place.view.buf
        return 0

    cdef int check_ranges(self) except -1:
        """Indices in range, masks 0 or 1."""
        cdef int i
        cdef Py_ssize_t at, count
        for i in range(self.kernel.inputs):
            count = self.place[i].view.len // self.place[i].view.itemsize
            if self.kernel.slot[i].kind == INDEX:
                at = outside(<int64_t*>self.pointer[i], count, self.place[i].bound)
                if at >= 0:
                    raise ValueError(self.sentence(
                        i, f"has index {(<int64_t*>self.pointer[i])[at]} at place {at}, must be "
                        f"at least 0 and below {self.place[i].bound}"))
            elif self.kernel.slot[i].kind == MASK:
                at = (not_binary(<double*>self.pointer[i], count) if self.number == FLOAT64
                      else not_binary(<float*>self.pointer[i], count))
                if at >= 0:
                    raise ValueError(self.sentence(
                        i, f"is a mask and is neither 0 nor 1 at place {at}"))
        return 0

    # ---- what sentences are made of ----

    cdef object dtype(self):
        return DTYPES[<int>self.number]

    cdef object sentence(self, int i, text):
        return f"{self.kernel.name}: {self.kernel.leaves[i].name} {text}"

    cdef list shapes(self):
        cdef int i
        return [shape_of(&self.place[i].view) for i in range(self.kernel.inputs)]

    cdef dict known_sizes(self):
        cdef int i
        names = self.kernel.declaration.sizes
        return {names[i]: self.size[i] for i in range(self.kernel.sizes_count)}


def listed(sizes):
    return ", ".join([f"{name} = {value}" for name, value in sizes.items()])


cdef Number number_without_reals(outputs) except *:
    """Without a real argument a given result decides the dtype, else it is float64."""
    single = any([getattr(array, "dtype", None) == DTYPES[1] for array in outputs])
    return FLOAT32 if single else FLOAT64
