# cython: language_level=3
"""What a kernel declares, as numbers that a call reads quickly."""

from cpython.mem cimport PyMem_Free

from derive.runtime.buffers cimport FLOAT32, FLOAT64, taken

from derive.runtime.declare import KINDS, MAY_BE_ZERO, Declaration, Leaf


def nothing(*sizes):
    """The workspace of a kernel that needs none."""
    return 0


cdef class Layout:
    """The pointers of a kernel in their order and the extents of each.

    Leaves of arguments come first (up to `inputs`), then leaves of results (up to `outputs`),
    then `saved` (its place, -1 where there is none), then `workspace`.
    """

    def __cinit__(self, str name, str doc="", *, sizes, arguments, results, mode="overwrite",
                  saved=None, saved_role=None, workspace=None, within=(),
                  size_t float64, size_t float32):
        self.declaration = Declaration(
            name, tuple(sizes), tuple(arguments), tuple(results), mode, saved_role)
        if (saved_role is None) != (saved is None):
            raise ValueError(f"{name}: saved and saved_role belong together")
        if float64 == 0 or float32 == 0:
            raise ValueError(f"{name}: no compiled function")
        self.name, self.saved_of, self.workspace_of = name, saved, workspace
        self.trampoline[<int>FLOAT64] = <Trampoline>float64
        self.trampoline[<int>FLOAT32] = <Trampoline>float32
        self.accumulate, self.reads = mode == "accumulate", saved_role == "read"
        self.asked, self.within = self.declaration.required, tuple(within)
        self.number_pointers()
        self.lay_out_extents()

    def __dealloc__(self):
        PyMem_Free(self.width)
        PyMem_Free(self.slot)
        PyMem_Free(self.extent)

    cdef int number_pointers(self) except -1:
        made = self.declaration
        extra = [Leaf("saved", (self.saved_of,))] if self.saved_of is not None else []
        self.leaves = (*made.leaves(), *extra, Leaf("workspace", (self.workspace_of or nothing,)))
        self.slots, self.sizes_count = len(self.leaves), len(made.sizes)
        self.arguments_count = len(made.arguments)
        self.width = <int*>taken(self.arguments_count, sizeof(int))
        for i, argument in enumerate(made.arguments):
            self.width[<int>i] = len(argument.leaves)
            self.inputs += len(argument.leaves)
        self.workspace = self.slots - 1
        self.saved = self.workspace - 1 if extra else -1
        self.outputs = self.workspace - len(extra)
        self.single = all(len(result.leaves) == 1 for result in made.results)
        self.batch, self.steps = [
            made.sizes.index(name) if name in made.sizes else -1 for name in MAY_BE_ZERO]
        return 0

    cdef int lay_out_extents(self) except -1:
        cdef int i, used = 0
        self.slot = <Slot*>taken(self.slots, sizeof(Slot))
        self.extent = <Extent*>taken(
            sum([len(leaf.extents) + 1 for leaf in self.leaves]), sizeof(Extent))
        self.derived = ()
        for i, leaf in enumerate(self.leaves):
            self.slot[i] = Slot(
                kind=<Kind><int>KINDS.index(leaf.kind), ndim=len(leaf.extents),
                batch=leaf.batch, extent=self.extent + used)
            self.ranged = self.ranged or leaf.kind != "real"
            for extent in (*leaf.extents, leaf.bound):
                self.extent[used] = self.coded(extent)
                used += 1
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
        return self._count("saved", self.saved_of, sizes)

    def workspace_size(self, **sizes):
        """How many elements `workspace` needs at these sizes (all of them, batch too); 0 if none."""
        return self._count("workspace", self.workspace_of, sizes)

    def _count(self, what, function, sizes):
        names = self.declaration.sizes
        if set(sizes) != set(names):
            raise TypeError(f"{self.name}: {what}_size takes the sizes {', '.join(names)}, "
                            f"found {', '.join(sizes) or 'none'}")
        if any(sizes[name] < 0 for name in names):
            raise ValueError(f"{self.name}: {what}_size: a size is negative in {sizes}")
        return 0 if function is None else int(function(*[sizes[name] for name in names]))

    sizes = property(lambda self: self.declaration.sizes)
    arguments = property(lambda self: self.declaration.arguments)
    results = property(lambda self: self.declaration.results)
    mode = property(lambda self: self.declaration.mode)
    saved_role = property(lambda self: self.declaration.saved_role)
    __signature__ = property(lambda self: self.declaration.signature())
