"""What a kernel declares, as numbers that a call reads quickly."""

ctypedef void (*Trampoline)(const Py_ssize_t* size, void** array) noexcept nogil

cdef enum:
    FIXED = -1             # codes of an extent that is not a size
    DERIVED = -2

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

cdef struct Shown:         # where a size is read off
    int slot, axis


cdef class Layout:
    cdef readonly object declaration
    cdef readonly str name
    cdef object arrays       # the Slots of the kernel
    cdef tuple derived       # functions of the sizes
    cdef tuple asked         # sizes that a call has to give
    cdef tuple within        # functions of the sizes: extents of arrays that are none of the call's
    cdef int inputs, outputs, saved, workspace, slots  # ends of pointer ranges
    cdef int arguments_count, sizes_count, batch, steps, first_real
    cdef bint accumulate, reads, ranged
    cdef bint alone, single  # every argument, every result is one array
    cdef Slot* slot
    cdef Extent* extent
    cdef Shown* shown        # one for each size
    cdef Trampoline[2] trampoline

    cdef int count(self) except -1
    cdef int lay_out_extents(self) except -1
    cdef Extent coded(self, extent) except *
