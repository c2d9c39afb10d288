"""Arrays at C level: what a buffer holds, where it lies, and whether its values are in range.

Inlines only.
"""

from cpython.buffer cimport PyBuffer_IsContiguous
from cpython.mem cimport PyMem_Calloc
from libc.stdint cimport int64_t

from derive.runtime.elementary cimport real

cdef enum Number:          # what an array holds
    FLOAT64, FLOAT32, INT64, INTEGER, BOOL, OTHER

cdef struct Place:         # one array of a call
    Py_buffer view
    char* low              # the caller's memory, low <= address < high
    char* high
    Number number
    Py_ssize_t bound       # of an index array


cdef inline Number number_of(const Py_buffer* view) noexcept:
    """The numbers of a buffer in native byte order and alignment; OTHER for everything else."""
    cdef const char* format = view.format
    if format == NULL or format[0] == 0 or format[1] != 0:
        return OTHER
    if format[0] == b"d":
        return FLOAT64
    if format[0] == b"f":
        return FLOAT32
    if (format[0] == b"l" or format[0] == b"q") and view.itemsize == 8:
        return INT64
    if format[0] in (b"b", b"h", b"i", b"l", b"q", b"B", b"H", b"I", b"L", b"Q"):
        return INTEGER
    return BOOL if format[0] == b"?" else OTHER


cdef inline bint contiguous(const Py_buffer* view) noexcept:
    return PyBuffer_IsContiguous(view, b"C")


cdef inline void span(Place* place) noexcept:
    """The memory an array reaches over, whatever its strides."""
    cdef Py_buffer* view = &place.view
    cdef Py_ssize_t reach
    cdef int axis
    place.low = place.high = <char*>view.buf
    if view.len == 0:
        return
    place.high += view.itemsize
    for axis in range(view.ndim):
        reach = (view.shape[axis] - 1) * view.strides[axis]
        if reach < 0:
            place.low += reach
        else:
            place.high += reach


cdef inline bint overlapping(const Place* a, const Place* b) noexcept:
    """Whether two spans meet; one that is empty meets none."""
    return a.low < a.high and b.low < b.high and a.low < b.high and b.low < a.high


cdef inline Py_ssize_t outside(
        const int64_t* index, Py_ssize_t count, int64_t bound) noexcept nogil:
    """The place of the first entry that is not in 0 <= v < bound, or -1."""
    cdef Py_ssize_t i
    for i in range(count):
        if index[i] < 0 or index[i] >= bound:
            return i
    return -1


cdef inline Py_ssize_t not_binary(const real* mask, Py_ssize_t count) noexcept nogil:
    """The place of the first entry that is neither 0 nor 1, or -1."""
    cdef Py_ssize_t i
    for i in range(count):
        if not (mask[i] == 0 or mask[i] == 1):
            return i
    return -1


cdef inline void* taken(size_t count, size_t size) except NULL:
    """Zeroed memory, never NULL; to be freed by PyMem_Free."""
    cdef void* memory = PyMem_Calloc(count + 1, size)
    if memory == NULL:
        raise MemoryError
    return memory
