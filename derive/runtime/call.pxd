"""The arrays of one call of a kernel."""

from derive.runtime.buffers cimport Number, Place
from derive.runtime.layout cimport Layout


cdef class Call:
    cdef readonly Layout kernel
    cdef readonly object results
    cdef bint binding        # arrays are kept: no input may be a copy
    cdef bint batched
    cdef bint asked          # some result is to be computed
    cdef Number number       # FLOAT64 or FLOAT32
    cdef Py_ssize_t* size    # -1 where it is not known yet
    cdef Place* place
    cdef void** pointer
    cdef void* own           # a workspace made here
    cdef tuple given, values # the arguments, and one value for each of their arrays
    cdef dict named          # arguments by name; once these are in their order, sizes
    cdef object out, saved, workspace
    cdef dict converted      # arrays made of other things, by slot
    cdef tuple numbers       # the sizes as Python numbers, once something asks for them

    cdef int run(self) except -1
    cdef int release(self) except -1


cdef object dtype_of(Call call)
cdef int hold(Call call, int i, value) except -1
cdef int copy(Call call, int i, dtype) except -1
cdef tuple known(Call call)
cdef bint fits(Call call, int i) except -1
cdef Py_ssize_t extent(Call call, int i, int axis) except -2
