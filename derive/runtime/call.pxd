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
    cdef Py_ssize_t* size
    cdef Place* place
    cdef void** pointer
    cdef void* own           # a workspace made here
    cdef dict keywords
    cdef tuple values        # the sizes as Python numbers, once something asks for them

    cdef int fill(self, tuple given, dict named, out, saved, workspace) except -1
    cdef int run(self) except -1
    cdef int check_ranges(self) except -1

    cdef int take_arguments(self, tuple given, dict named) except -1
    cdef int hold(self, int i, value) except -1
    cdef object array_from(self, int i, value)
    cdef int settle_number(self, out) except -1
    cdef int require_number(self, int i, int first) except -1
    cdef int refuse_number(self, int i, expected) except -1
    cdef int settle_batch(self) except -1
    cdef int settle_sizes(self) except -1
    cdef int take_keywords(self) except -1
    cdef bint read_sizes(self, int i) except -1
    cdef int check_sizes(self) except -1
    cdef int check_within(self) except -1

    cdef Py_ssize_t extent(self, int i, int axis) except -1
    cdef Py_ssize_t derive(self, int i, int axis, Py_ssize_t which) except -1
    cdef tuple expected(self, int i)
    cdef int check_shape(self, int i) except -1
    cdef int refuse_shape(self, int i) except -1
    cdef int learn(self, int i) except -1

    cdef int take_results(self, out) except -1
    cdef object make(self, int i)
    cdef object listed_out(self, out)
    cdef int take_saved(self, saved) except -1
    cdef int take_workspace(self, workspace) except -1
    cdef int hold_output(self, int i, value) except -1

    cdef int check_overlap(self) except -1
    cdef int copy_inputs(self) except -1
    cdef int copy(self, int i, Number wanted) except -1

    cdef object dtype(self)
    cdef object sentence(self, int i, text)
    cdef list shapes(self)
    cdef dict known_sizes(self)
