# cython: language_level=3, embedsignature=True
"""The one checked edge between Python and every generated kernel.

A generated module holds C functions of one type and makes a `Kernel` of each. A call of a kernel
takes arrays, checks all of them before anything is written, and runs the C function with the lock
of Python released.

    inputs      one dtype, float64 or float32, given by the first real array; no silent cast
                (TypeError). Not contiguous: one copy. Index arrays of any integer dtype and masks
                of bool are copied to int64 and to the dtype.
    outputs     NumPy arrays of that dtype, C-contiguous, aligned, writeable, that overlap no other
                array of the call (ValueError).
    shapes      every size is read off the arguments and has to agree (ValueError). Either all
                arguments have their batch axis or none has; then B = 1 and results have none.
    failure     leaves every array as it was.
"""

from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.stdint cimport int64_t
from libc.stdlib cimport free

import hashlib
import os

import numpy as np

from derive.runtime.declare import (
    Argument, Declaration, Leaf, axes_sentence, batch_sentence, extent_name, origins,
    shape_sentence)

from derive.runtime cimport module as build
from derive.runtime.buffers cimport (
    BOOL, FLOAT32, FLOAT64, INT64, INTEGER, OTHER, Number, Place, contiguous, not_binary, outside,
    number_of, overlap, shape_of, span, taken)

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t alignment, size_t size)

cdef extern from "cpu.h":
    bint layerwise_cpu_supports(const char* name)

cdef extern from *:
    """
    #define layerwise_enter(flag) __atomic_exchange_n(flag, 1, __ATOMIC_ACQUIRE)
    #define layerwise_leave(flag) __atomic_store_n(flag, 0, __ATOMIC_RELEASE)
    """
    int layerwise_enter(int* flag) nogil
    void layerwise_leave(int* flag) nogil

ctypedef void (*Trampoline)(const Py_ssize_t* size, void** array) noexcept nogil

cdef enum:
    FIXED = -1             # codes of an extent that is not a size
    DERIVED = -2
    ALIGNMENT = 64         # of a workspace made here, in bytes

cdef enum Kind:            # what a leaf may hold
    REAL, INDEX, MASK

cdef struct Extent:
    Py_ssize_t code        # the place of a size, FIXED or DERIVED
    Py_ssize_t value       # the number, or the place among the derived ones

cdef struct Slot:          # one pointer of the trampoline
    Kind kind
    int ndim
    int batch              # axis of the batch, -1 without
    Extent* extent         # ndim of them, then the bound of an index

CONVENTION = build.CONVENTION

cdef type ndarray = np.ndarray
cdef object masked = np.ma.MaskedArray
cdef tuple DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
cdef object INT = np.dtype(np.int64)
cdef Py_ssize_t LARGEST = (<size_t>-1 >> 1) // 8   # elements an array may have


cdef class Kernel:
    """A compiled kernel behind its checks; see the module's text for what a call accepts.

    kernel(*arguments, out=None, saved=None, workspace=None, **sizes) returns one result, or a
    tuple. Mode "overwrite": results are written. Mode "accumulate": they are added into `out`
    (zeros where it is not given), and those that are None in `out` are not computed. Sizes that no
    argument shows are given by keyword.
    """

    cdef readonly object declaration
    cdef readonly str name
    cdef object doc, workspace_of
    cdef object saved_of
    cdef tuple leaves, derived, asked
    cdef int arguments_, inputs, outputs, saved, workspace, slots, sizes_, batch
    cdef bint accumulate, reads, ranged
    cdef int* width          # leaves of each argument
    cdef Slot* slot
    cdef Extent* extent
    cdef Trampoline[2] trampoline

    def __cinit__(self, str name, doc="", *, sizes, arguments, results, mode="overwrite",
                  saved=None, saved_role=None, workspace=None, size_t float64, size_t float32):
        self.declaration = Declaration(
            name, tuple(sizes), tuple(arguments), tuple(results), mode, saved_role)
        if (saved_role is None) != (saved is None):
            raise ValueError(f"{name}: saved and saved_role belong together")
        if float64 == 0 or float32 == 0:
            raise ValueError(f"{name}: no compiled function")
        self.asked = self.declaration.asked
        self.name, self.doc, self.saved_of, self.workspace_of = name, doc, saved, workspace
        self.trampoline[<int>FLOAT64] = <Trampoline>float64
        self.trampoline[<int>FLOAT32] = <Trampoline>float32
        self.accumulate, self.reads = mode == "accumulate", saved_role == "read"
        self._lay_out()

    def __dealloc__(self):
        PyMem_Free(self.width)
        PyMem_Free(self.slot)
        PyMem_Free(self.extent)

    cdef int _lay_out(self) except -1:
        """Number the pointers: leaves of arguments, leaves of results, saved, workspace."""
        cdef object made = self.declaration
        cdef int i
        extra = [Leaf("saved", (self.saved_of,))] if self.saved_of is not None else []
        self.leaves = (*made.leaves(), *extra, Leaf("workspace", (self.workspace_of or _nothing,)))
        self.slots, self.sizes_ = len(self.leaves), len(made.sizes)
        self.arguments_ = len(made.arguments)
        self.width = <int*>taken(self.arguments_, sizeof(int))
        for i in range(self.arguments_):
            self.width[i] = len(made.arguments[i].leaves)
            self.inputs += self.width[i]
        self.workspace = self.slots - 1
        self.saved = self.workspace - 1 if extra else -1
        self.outputs = self.workspace - len(extra)
        self.batch = made.sizes.index("B") if "B" in made.sizes else -1
        self._lay_out_extents()

    cdef int _lay_out_extents(self) except -1:
        cdef int i, axis, used = 0
        self.slot = <Slot*>taken(self.slots, sizeof(Slot))
        self.extent = <Extent*>taken(
            sum([len(leaf.extents) + 1 for leaf in self.leaves]), sizeof(Extent))
        self.derived = ()
        for i, leaf in enumerate(self.leaves):
            self.slot[i] = Slot(
                kind=(<Kind>("real", "index", "mask").index(leaf.kind)),
                ndim=len(leaf.extents), batch=leaf.batch, extent=self.extent + used)
            self.ranged = self.ranged or self.slot[i].kind != REAL
            for axis, extent in enumerate((*leaf.extents, leaf.bound)):
                self.extent[used] = self._code(extent)
                used += 1
        return 0

    cdef Extent _code(self, extent) except *:
        cdef Extent coded = Extent(code=FIXED, value=0)
        if callable(extent):
            coded = Extent(code=DERIVED, value=len(self.derived))
            self.derived += (extent,)
        elif isinstance(extent, str):
            coded.code = self.declaration.sizes.index(extent)
        elif extent is not None:
            coded.value = extent
        return coded

    def __call__(self, *given, out=None, saved=None, workspace=None, **named):
        cdef Bound call = Bound.__new__(Bound, self)
        call.fill(given, named, out, saved, workspace)
        call.run()
        return call.results

    def bind(self, *given, out=None, saved=None, workspace=None, **named):
        """Check arrays once and hold them: `bound()` then runs the kernel on what they contain.

        The same arguments as a call, but all NumPy arrays that need no copy (ValueError).
        """
        cdef Bound bound = Bound.__new__(Bound, self)
        bound.binding = True
        bound.fill(given, named, out, saved, workspace)
        return bound

    def saved_size(self, **sizes):
        """How many elements `saved` has at these sizes (all of them, B too); 0 if none."""
        return self._count("saved", self.saved_of, sizes)

    def workspace_size(self, **sizes):
        """How many elements `workspace` needs at these sizes (all of them, B too); 0 if none."""
        return self._count("workspace", self.workspace_of, sizes)

    def _count(self, what, function, sizes):
        names = self.declaration.sizes
        if set(sizes) != set(names):
            raise TypeError(f"{self.name}: {what}_size takes the sizes {', '.join(names)}, "
                            f"found {', '.join(sizes) or 'none'}")
        return 0 if function is None else function(*[sizes[name] for name in names])

    sizes = property(lambda self: self.declaration.sizes)
    arguments = property(lambda self: self.declaration.arguments)
    results = property(lambda self: self.declaration.results)
    mode = property(lambda self: self.declaration.mode)
    saved_role = property(lambda self: self.declaration.saved_role)
    __signature__ = property(lambda self: self.declaration.signature())

    @property
    def __doc__(self):
        return self.doc

    def __repr__(self):
        return f"<Kernel {self.name}{self.__signature__}>"


def _nothing(*sizes):
    return 0


cdef class Bound:
    """A kernel with the arrays of one call: checked once, held, run as often as called.

    bound() runs the kernel and returns `bound.results`. Indices and masks are checked again at each
    call, since the arrays may have been refilled; what another thread writes into them during a
    call is not. Not re-entrant: a call while one is running raises RuntimeError.
    """

    cdef readonly Kernel kernel
    cdef readonly object results
    cdef bint binding, batched
    cdef int number, busy
    cdef Py_ssize_t* size
    cdef Place* place
    cdef void** pointer
    cdef void* own           # a workspace made here
    cdef dict keywords

    def __cinit__(self, Kernel kernel):
        cdef int i
        self.kernel, self.number, self.batched = kernel, OTHER, True
        self.size = <Py_ssize_t*>taken(kernel.sizes_, sizeof(Py_ssize_t))
        self.place = <Place*>taken(kernel.slots, sizeof(Place))
        self.pointer = <void**>taken(kernel.slots, sizeof(void*))
        for i in range(kernel.sizes_):
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

    def __call__(self):
        if layerwise_enter(&self.busy):
            raise RuntimeError(f"{self.kernel.name}: this bound kernel is running in another "
                               "thread; bind one for each thread")
        try:
            if self.kernel.ranged:
                self.check_ranges()
            self.run()
        finally:
            layerwise_leave(&self.busy)
        return self.results

    def __repr__(self):
        sizes = ", ".join([f"{k}={v}" for k, v in self.known_sizes().items()])
        return f"<Bound {self.kernel.name} {DTYPES[self.number]} {sizes}>"

    cdef int run(self) except -1:
        cdef Trampoline trampoline = self.kernel.trampoline[self.number]
        with nogil:
            trampoline(self.size, self.pointer)
        return 0

    # ---- the order of the checks; nothing is written before the last of them ----

    cdef int fill(self, tuple given, dict named, out, saved, workspace) except -1:
        cdef Kernel kernel = self.kernel
        self.take_arguments(given, named)
        self.settle_number(out)
        self.settle_batch()
        self.settle_sizes()
        self.take_saved(saved)
        self.take_results(out)
        self.take_workspace(workspace)
        self.check_overlap()
        self.copy_inputs()
        if kernel.ranged:
            self.check_ranges()
        return 0

    # ---- inputs ----

    cdef int take_arguments(self, tuple given, dict named) except -1:
        cdef Kernel kernel = self.kernel
        cdef int argument, leaf = 0
        if named or len(given) != kernel.arguments_:
            given, self.keywords = kernel.declaration.ordered(given, named)
        for argument in range(kernel.arguments_):
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
            raise TypeError(self.says(i, f"has dtype {value.dtype}, expected numbers")) from None
        place.number = number_of(&place.view)
        self.pointer[i] = place.view.buf
        span(place)
        return 0

    cdef object array_from(self, int i, value):
        """An array that shares the memory of anything else; a new one for lists and numbers."""
        if isinstance(value, masked):
            raise TypeError(self.says(i, "is a masked array; pass its data and a mask"))
        if value is None:
            raise TypeError(self.says(i, "is None, expected an array"))
        if isinstance(value, ndarray):
            return np.asarray(value)
        if self.binding:
            raise TypeError(self.says(
                i, f"is a {type(value).__name__}; bind holds NumPy arrays (np.asarray shares memory)"))
        try:
            return np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
        except Exception as error:
            raise TypeError(self.says(
                i, f"is a {type(value).__name__} that gives no array in main memory: {error}")) from error

    cdef int settle_number(self, out) except -1:
        """The dtype: that of the first real array; then every array has to have it."""
        cdef Kernel kernel = self.kernel
        cdef int i, first = -1
        for i in range(kernel.inputs):
            if kernel.slot[i].kind == REAL:
                first = i
                break
        if first < 0:
            self.number = number_without_reals(
                () if out is None else kernel.declaration.outputs(out))
        else:
            self.number = self.place[first].number
            self.require_number(first, first)
        for i in range(kernel.inputs):
            if kernel.slot[i].kind == REAL and self.place[i].number != self.number:
                self.require_number(i, first)
            elif kernel.slot[i].kind == INDEX and self.place[i].number not in (INT64, INTEGER):
                self.refuse_number(i, "integers")
            elif kernel.slot[i].kind == MASK and self.place[i].number not in (self.number, BOOL):
                self.refuse_number(i, f"{DTYPES[self.number]} or bool")
        return 0

    cdef int require_number(self, int i, int first) except -1:
        if self.number != FLOAT64 and self.number != FLOAT32:
            self.refuse_number(i, "float64 or float32")
        if self.place[i].number != self.number:
            leaf = f" (the dtype of {self.kernel.leaves[first].name})" if 0 <= first != i else ""
            self.refuse_number(i, f"{DTYPES[self.number]}{leaf}")
        return 0

    cdef int refuse_number(self, int i, expected) except -1:
        cdef Kind kind = self.kernel.slot[i].kind
        dtype = (<object>self.place[i].view.obj).dtype
        fits = dtype.kind in "iu" if kind == INDEX else dtype in DTYPES
        if fits and self.place[i].number == OTHER and dtype.isnative:
            raise ValueError(self.says(i, "is misaligned; pass a copy of it"))
        raise TypeError(self.says(i, f"has dtype {dtype}, expected {expected}"))

    cdef int settle_batch(self) except -1:
        """Either all arguments that may have a batch axis have it, or none of them."""
        cdef Kernel kernel = self.kernel
        cdef int i, lacking, having_batch = 0, lacking_batch = 0
        for i in range(kernel.inputs):
            lacking = kernel.slot[i].ndim - self.place[i].view.ndim
            if lacking == 0 and kernel.slot[i].batch >= 0:
                having_batch += 1
            elif lacking == 1 and kernel.slot[i].batch >= 0:
                lacking_batch += 1
            elif lacking != 0:
                raise ValueError(f"{kernel.name}: " + axes_sentence(
                    kernel.leaves[i], shape_of(&self.place[i].view)))
        if having_batch and lacking_batch:
            raise ValueError(f"{kernel.name}: " + batch_sentence(kernel.leaves, self.shapes()))
        if lacking_batch:
            self.batched = False
            self.size[kernel.batch] = 1
        return 0

    # ---- sizes ----

    cdef int settle_sizes(self) except -1:
        cdef Kernel kernel = self.kernel
        cdef int i
        cdef bint plain = True
        if self.keywords is not None:
            self.take_keywords()
        for name in kernel.asked:
            if not self.keywords or name not in self.keywords:
                raise TypeError(f"{kernel.name}: size {name} is not known, give it as {name}=")
        for i in range(kernel.inputs):
            plain = self.read_sizes(i) and plain
        for i in range(kernel.sizes_):
            if self.size[i] < (i != kernel.batch):
                self.refuse_size(i)
        for i in range(kernel.inputs):
            if not plain:
                self.check_shape(i)
            if kernel.slot[i].kind == INDEX:
                self.place[i].bound = self.extent(i, kernel.slot[i].ndim)
        return 0

    cdef int take_keywords(self) except -1:
        cdef Kernel kernel = self.kernel
        cdef Py_ssize_t value
        names = kernel.declaration.sizes
        for name, given in self.keywords.items():
            try:
                value = given
            except (TypeError, OverflowError):
                raise TypeError(
                    f"{kernel.name}: size {name} = {given!r} is not a whole number in range") from None
            i = names.index(name)
            if value < 0 or (i == kernel.batch and not self.batched and value != 1):
                raise ValueError(f"{kernel.name}: size {name} = {value} does not fit")
            self.size[i] = value

    cdef int read_sizes(self, int i) except -1:
        """Compare the plain extents of an argument with the sizes, new ones are taken from it."""
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t* shape = self.place[i].view.shape
        cdef Py_ssize_t code, at = 0
        cdef int axis
        cdef bint plain = True
        for axis in range(slot.ndim):
            if axis == slot.batch and not self.batched:
                continue
            code = slot.extent[axis].code
            if code < 0:
                plain = False
            elif self.size[code] < 0:
                self.size[code] = shape[at]
            elif self.size[code] != shape[at]:
                self.refuse_shape(i)
            at += 1
        return plain

    cdef Py_ssize_t extent(self, int i, int axis) except -1:
        cdef Extent extent = self.kernel.slot[i].extent[axis]
        if extent.code >= 0:
            return self.size[extent.code]
        return extent.value if extent.code == FIXED else self.derive(i, axis, extent.value)

    cdef Py_ssize_t derive(self, int i, int axis, Py_ssize_t which) except -1:
        cdef Kernel kernel = self.kernel
        cdef Py_ssize_t value, least = i < kernel.outputs
        sizes = self.known_sizes()
        function = kernel.derived[which]
        try:
            value = function(*sizes.values())
        except OverflowError:
            raise ValueError(self.says(i, f"is too large at {listed(sizes)}")) from None
        if value < least:
            raise ValueError(self.says(
                i, f"has extent {extent_name(function)} = {value} on axis {axis}, "
                f"must be at least {least}; sizes are {listed(sizes)}"))
        return value

    cdef tuple expected(self, int i):
        """The shape a leaf has at this call; ValueError where it has too many elements."""
        cdef Slot* slot = &self.kernel.slot[i]
        cdef Py_ssize_t count = 1, value
        cdef int axis
        shape = []
        for axis in range(slot.ndim):
            value = self.extent(i, axis)
            if value > 0 and count > LARGEST // value:
                raise ValueError(self.says(
                    i, f"is too large at {listed(self.known_sizes())}"))
            count *= max(value, 1)
            if self.batched or axis != slot.batch:
                shape.append(value)
        return tuple(shape)

    cdef int check_shape(self, int i) except -1:
        if self.expected(i) != shape_of(&self.place[i].view):
            self.refuse_shape(i)
        return 0

    # ---- outputs ----

    cdef int take_saved(self, saved) except -1:
        cdef Kernel kernel = self.kernel
        if kernel.saved < 0 and saved is not None:
            raise TypeError(f"{kernel.name}: takes no saved values")
        if kernel.reads and saved is None:
            raise TypeError(f"{kernel.name}: saved is missing: give the array that "
                            "forward(..., saved=array) has filled at these arguments")
        if kernel.saved < 0 or saved is None:
            return 0
        if kernel.reads:
            self.hold(kernel.saved, saved)
            self.require_number(kernel.saved, -1)
            return self.check_shape(kernel.saved)
        self.hold_output(kernel.saved, saved)
        return self.check_shape(kernel.saved)

    cdef int take_results(self, out) except -1:
        cdef Kernel kernel = self.kernel
        cdef int i = kernel.inputs
        cdef list arrays = []
        if out is None:
            for i in range(kernel.inputs, kernel.outputs):
                arrays.append(self.make(i))
        else:
            for array in kernel.declaration.outputs(out):
                if array is not None or not kernel.accumulate:
                    self.hold_output(i, array)
                    self.check_shape(i)
                arrays.append(array)
                i += 1
        single = len(arrays) == 1
        self.results = arrays[0] if single else kernel.declaration.gathered(arrays)
        return 0

    cdef object make(self, int i):
        make = np.zeros if self.kernel.accumulate else np.empty
        array = make(self.expected(i), DTYPES[self.number])
        self.hold(i, array)
        return array

    cdef int hold_output(self, int i, value) except -1:
        if value is None or not isinstance(value, ndarray):
            raise TypeError(self.says(
                i, f"is given as {type(value).__name__}, must be a NumPy array to be written to"))
        self.hold(i, value)
        self.require_number(i, -1)
        if self.place[i].view.readonly:
            raise ValueError(self.says(i, "is read-only"))
        if not contiguous(&self.place[i].view):
            raise ValueError(self.says(i, "is written to and must be C-contiguous"))
        return 0

    cdef int take_workspace(self, workspace) except -1:
        cdef int i = self.kernel.workspace
        cdef Py_ssize_t count = self.expected(i)[0]
        if workspace is not None:
            self.hold_output(i, workspace)
            if self.place[i].view.ndim != 1 or self.place[i].view.shape[0] < count:
                raise ValueError(self.says(
                    i, f"has shape {shape_of(&self.place[i].view)}, needs one axis of {count} or more"))
        elif count:
            self.own = self.pointer[i] = aligned_alloc(
                ALIGNMENT, (<size_t>8 * count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
            if self.own == NULL:
                raise MemoryError(f"{self.kernel.name}: no memory for a workspace of {count}")
        return 0

    # ---- memory ----

    cdef int check_overlap(self) except -1:
        """No array that is written shares memory with another one."""
        cdef Kernel kernel = self.kernel
        cdef int i, j
        for i in range(kernel.inputs, kernel.slots):
            if i == kernel.saved and kernel.reads:
                continue
            for j in range(kernel.slots):
                if j != i and overlap(&self.place[i], &self.place[j]):
                    raise ValueError(self.says(
                        i, f"is written to and overlaps {kernel.leaves[j].name}"))
        return 0

    cdef int copy_inputs(self) except -1:
        cdef Kernel kernel = self.kernel
        cdef int i
        cdef Number wanted
        for i in range(kernel.inputs):
            wanted = INT64 if kernel.slot[i].kind == INDEX else <Number>self.number
            if self.place[i].number != wanted or not contiguous(&self.place[i].view):
                self.copy(i, wanted)
        if kernel.reads and not contiguous(&self.place[kernel.saved].view):
            self.copy(kernel.saved, <Number>self.number)
        return 0

    cdef int copy(self, int i, Number wanted) except -1:
        """Exchange an input for a contiguous copy; `low` and `high` stay the caller's memory."""
        cdef Place* place = &self.place[i]
        cdef object array = <object>place.view.obj
        dtype = INT if wanted == INT64 else DTYPES[wanted]
        if self.binding:
            raise ValueError(self.says(
                i, f"is {array.dtype} with strides {array.strides}; bind needs it as "
                f"C-contiguous {dtype} (np.ascontiguousarray(..., dtype))"))
        copied = np.array(array, dtype=dtype, order="C")
        PyBuffer_Release(&place.view)
        PyObject_GetBuffer(copied, &place.view, PyBUF_FULL_RO)
        self.pointer[i] = place.view.buf
        return 0

    cdef int check_ranges(self) except -1:
        """Indices in range, masks 0 or 1."""
        cdef Kernel kernel = self.kernel
        cdef int i
        cdef Py_ssize_t at, count
        for i in range(kernel.inputs):
            count = self.place[i].view.len // self.place[i].view.itemsize
            if kernel.slot[i].kind == INDEX:
                at = outside(<int64_t*>self.pointer[i], count, self.place[i].bound)
                if at >= 0:
                    raise ValueError(self.says(
                        i, f"has index {(<int64_t*>self.pointer[i])[at]} at place {at}, must be "
                        f"at least 0 and below {self.place[i].bound}"))
            elif kernel.slot[i].kind == MASK:
                at = (not_binary(<double*>self.pointer[i], count) if self.number == FLOAT64
                      else not_binary(<float*>self.pointer[i], count))
                if at >= 0:
                    raise ValueError(self.says(
                        i, f"is a mask and is neither 0 nor 1 at place {at}"))
        return 0

    # ---- sentences ----

    cdef str says(self, int i, sentence):
        return f"{self.kernel.name}: {self.kernel.leaves[i].name} {sentence}"

    cdef list shapes(self):
        cdef int i
        return [shape_of(&self.place[i].view) for i in range(self.kernel.inputs)]

    cdef dict known_sizes(self):
        cdef int i
        names = self.kernel.declaration.sizes
        return {names[i]: self.size[i] for i in range(self.kernel.sizes_)}

    cdef int refuse_shape(self, int i) except -1:
        cdef Kernel kernel = self.kernel
        cdef int j
        for j in range(i, kernel.inputs):
            self.learn(j)
        found = shape_of(&self.place[i].view)
        known = origins(kernel.leaves, self.shapes(), self.keywords or {}, self.batched)
        raise ValueError(f"{kernel.name}: " + shape_sentence(
            kernel.leaves[i], found, self.expected(i), self.batched, known))

    cdef int learn(self, int i) except -1:
        """The sizes that only later arguments show, for a sentence."""
        leaf = self.kernel.leaves[i]
        for extent, found in zip(leaf.shown(self.batched), shape_of(&self.place[i].view)):
            if isinstance(extent, str):
                place = self.kernel.declaration.sizes.index(extent)
                if self.size[place] < 0:
                    self.size[place] = found
        return 0

    cdef int refuse_size(self, int i) except -1:
        name = self.kernel.declaration.sizes[i]
        known = origins(self.kernel.leaves, self.shapes(), self.keywords or {}, self.batched)
        raise ValueError(f"{self.kernel.name}: {known[name]}, must be at least 1")


def listed(sizes):
    return ", ".join([f"{name} = {value}" for name, value in sizes.items()])


def number_without_reals(outputs):
    """Without a real argument a given result decides the dtype, else it is float64."""
    single = any(getattr(array, "dtype", None) == DTYPES[1] for array in outputs)
    return FLOAT32 if single else FLOAT64


def admit(str name, int convention, str source_hash, str path, str features):
    """Let a generated module be imported, or say why it must be built anew (ImportError).

    Refused are modules for another calling convention, modules whose `.pyx` beside them is not the
    text they were compiled from, and modules compiled for CPU features that this one lacks.
    """
    if convention != build.CONVENTION:
        raise_stale(name, f"was compiled for calling convention {convention}, "
                    f"this is {build.CONVENTION}")
    text = os.path.join(os.path.dirname(path), name.rpartition(".")[2] + ".pyx")
    if os.path.exists(text) and hash_of(text) != source_hash:
        raise_stale(name, f"was compiled from another text than {text}")
    lacking = [f for f in features.split() if not layerwise_cpu_supports(f.encode("ascii"))]
    if lacking:
        raise_stale(name, f"was compiled for a CPU with {', '.join(lacking)}, which this one lacks")


def hash_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def raise_stale(name, reason):
    raise ImportError(f"{name} {reason}; run: python build.py", name=name)
