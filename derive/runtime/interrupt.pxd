"""Whether a kernel that is running is to stop."""

from cpython.ref cimport PyObject

cdef struct Watch:         # over one kernel that the main thread runs
    int stopped
    int turns, pace        # questions until the clock is read, from now and from then on
    double read, due       # when it was read, and when Python is asked next, in seconds
    PyObject* raised       # what a signal handler has raised
    Watch* outer           # of a kernel within which a handler has called this one


cdef int is_interrupted() noexcept nogil
cdef int is_interrupted_now() noexcept nogil

cdef void watch(Watch* own) noexcept
cdef int unwatch(Watch* own) except -1
cdef long forks() noexcept nogil
