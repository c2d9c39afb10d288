# cython: language_level=3
"""What a call of a kernel holds: the buffers of its arrays, and the sizes read off them."""

from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.stdlib cimport free

from derive.runtime.buffers cimport OTHER, Place, number_of, span, taken
from derive.runtime.interrupt cimport Watch, unwatch, watch
from derive.runtime.layout cimport FIXED, Extent, Layout, Slot, Trampoline

import numpy as np

from derive.runtime import called
from derive.runtime.called import array_of

cdef type ndarray = np.ndarray
cdef tuple DTYPES = called.DTYPES
cdef Py_ssize_t LARGEST = called.LARGEST


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
    return keep(call, i, array_of(call.kernel.arrays, i, value, call.binding, like))


cdef object keep(Call call, int i, array):
    if call.converted is None:
        call.converted = {}
    call.converted[i] = array
    return array


cdef int copy(Call call, int i, dtype) except -1:
    """Exchange an input for a contiguous copy of it."""
    cdef Py_buffer* view = &call.place[i].view
    copied = np.array(<object>view.obj, dtype=dtype, order="C")
    PyBuffer_Release(view)
    PyObject_GetBuffer(copied, view, PyBUF_FULL_RO)
    call.pointer[i] = view.buf
    return 0


cdef tuple known(Call call):
    """The sizes as Python numbers."""
    cdef int k
    if call.numbers is None:
        call.numbers = tuple([call.size[k] for k in range(call.kernel.sizes_count)])
    return call.numbers


cdef bint fits(Call call, int i) except -1:
    """Whether an array has the shape of its leaf."""
    cdef Slot* slot = &call.kernel.slot[i]
    cdef Py_ssize_t wanted
    cdef int axis, at = 0
    if call.place[i].view.ndim != slot.ndim - (slot.batch >= 0 and not call.batched):
        return False
    for axis in range(slot.ndim):
        if call.batched or axis != slot.batch:
            wanted = slot.extent[axis].code
            wanted = call.size[wanted] if wanted >= 0 else extent(call, i, axis)
            if wanted != call.place[i].view.shape[at]:
                return False
            at += 1
    return True


cdef Py_ssize_t extent(Call call, int i, int axis) except -2:
    """Behind the last axis is the bound of an index; -1 where it is too small or too large."""
    cdef Extent* extent = &call.kernel.slot[i].extent[axis]
    cdef Py_ssize_t value, least = i < call.kernel.outputs
    if extent.code >= 0:
        return call.size[extent.code]
    if extent.code == FIXED:
        return extent.value
    try:
        value = call.kernel.derived[extent.value](*known(call))
    except OverflowError:
        return -1
    return value if least <= value <= LARGEST else -1
