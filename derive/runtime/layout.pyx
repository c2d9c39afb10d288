# cython: language_level=3
"""What a kernel declares, as numbers that a call reads quickly."""

from cpython.mem cimport PyMem_Free

from derive.runtime.buffers cimport FLOAT32, FLOAT64, taken

from derive.runtime.declare import KINDS, MAY_BE_ZERO, Declaration
from derive.runtime.slots import Slots


cdef class Layout:
    """The slots of a kernel, one for each pointer of its function, and their extents."""

    def __cinit__(self, str name, str doc="", *, sizes, arguments, results, mode="overwrite",
                  saved=None, saved_role=None, workspace=None, within=(),
                  size_t float64, size_t float32):
        self.name, self.declaration = name, Declaration(
            name, tuple(sizes), tuple(arguments), tuple(results), mode, saved_role)
        self.arrays = Slots(self.declaration, saved, workspace, tuple(within))
        if float64 == 0 or float32 == 0:
            raise ValueError(f"{name}: no compiled function")
        self.trampoline[<int>FLOAT64] = <Trampoline>float64
        self.trampoline[<int>FLOAT32] = <Trampoline>float32
        self.count()
        self.lay_out_extents()

    def __dealloc__(self):
        PyMem_Free(self.slot)
        PyMem_Free(self.extent)
        PyMem_Free(self.shown)

    cdef int count(self) except -1:
        made, arrays = self.declaration, self.arrays
        self.asked, self.within = made.required, arrays.within
        self.accumulate, self.reads = arrays.accumulates, arrays.reads_saved
        self.slots, self.inputs, self.outputs = len(arrays.leaves), arrays.inputs, arrays.outputs
        self.saved, self.workspace, self.first_real = (
            arrays.saved, arrays.workspace, arrays.first_real)
        self.arguments_count, self.sizes_count = len(made.arguments), len(made.sizes)
        self.alone, self.single = [
            all([len(each.leaves) == 1 for each in those]) for those in (made.arguments, made.results)]
        self.batch, self.steps = [
            made.sizes.index(name) if name in made.sizes else -1 for name in MAY_BE_ZERO]
        return 0

    cdef int lay_out_extents(self) except -1:
        cdef int i, axis, used = 0
        cdef Extent code
        leaves = self.arrays.leaves
        self.slot = <Slot*>taken(self.slots, sizeof(Slot))
        self.shown = <Shown*>taken(self.sizes_count, sizeof(Shown))
        self.extent = <Extent*>taken(sum([len(leaf.extents) + 1 for leaf in leaves]), sizeof(Extent))
        self.derived = ()
        for i, leaf in reversed(list(enumerate(leaves))):  # the first array that shows a size stays
            self.slot[i] = Slot(
                kind=<Kind><int>KINDS.index(leaf.kind), ndim=len(leaf.extents),
                batch=leaf.batch, extent=self.extent + used)
            self.ranged = self.ranged or leaf.kind != "real"
            for axis, extent in reversed(list(enumerate((*leaf.extents, leaf.bound)))):
                code = self.coded(extent)
                self.slot[i].extent[axis] = code
                if code.code >= 0 and axis < self.slot[i].ndim:
                    self.shown[code.code] = Shown(slot=i, axis=axis)
            used += self.slot[i].ndim + 1
        return 0

    cdef Extent coded(self, extent) except *:
        cdef Extent code = Extent(code=FIXED, value=0)
        if callable(extent):
            code = Extent(code=DERIVED, value=len(self.derived))
            self.derived += (extent,)
        elif isinstance(extent, str):
            code.code = self.declaration.sizes.index(extent)
        elif extent is not None:
            code.value = extent
        return code

    def saved_size(self, **sizes):
        """How many elements `saved` has at these sizes (all of them, batch too); 0 if none."""
        return self.arrays.saved_size(sizes)

    def workspace_size(self, **sizes):
        """How many elements `workspace` needs at these sizes (all of them, batch too); 0 if none."""
        return self.arrays.workspace_size(sizes)

    sizes = property(lambda self: self.declaration.sizes)
    arguments = property(lambda self: self.declaration.arguments)
    results = property(lambda self: self.declaration.results)
    mode = property(lambda self: self.declaration.mode)
    saved_role = property(lambda self: self.declaration.saved_role)
    __signature__ = property(lambda self: self.declaration.signature())
