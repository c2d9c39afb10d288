"""The checks of a call: all of them, and those that a bound kernel repeats."""

from derive.runtime.call cimport Call

cdef int fill(Call call) except -1
cdef bint ranges(Call call) except -1
