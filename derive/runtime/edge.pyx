# cython: language_level=3
"""The one checked edge between Python and every generated kernel.

A generated module holds C functions of one type and makes a `Kernel` of each. A call of a kernel
takes arrays, checks all of them before anything is written, and runs the C function with Python's
lock released.

    inputs      one dtype, float64 or float32, given by the first real array; no silent cast
                (TypeError). Not contiguous: one copy. Index arrays of any integer dtype and masks
                of bool are copied to int64 and to the dtype. Tensors in main memory are read.
    outputs     NumPy arrays of that dtype, C-contiguous, aligned, writeable, that overlap no other
                array of the call (ValueError).
    shapes      every size is read off the arguments and has to agree (ValueError). Either all
                arguments have their batch axis or none has; then batch = 1 and results have none.
    failure     leaves every array as it was; only an exception of a signal handler, as Ctrl-C has
                it, comes while the kernel runs, and then results are unspecified, inputs are not.
"""

import hashlib
import os
import sys
from pickle import PicklingError

from derive.runtime.declare import Argument, Leaf
from derive.runtime.pickling import referable, reference_of

from derive.runtime cimport module as build
from derive.runtime.call cimport Call, dtype_of, known
from derive.runtime.interrupt cimport forks
from derive.runtime.layout cimport Layout
from derive.runtime.steps cimport fill, ranges

cdef extern from "cpu.h":
    bint layerwise_cpu_supports(const char* name)

cdef extern from *:
    """
    /* Whether a flag that was free, or was set before the process forked, is now set to `turn`. */
    static inline int layerwise_enter(long *flag, long turn)
    {
        long found = __atomic_load_n(flag, __ATOMIC_RELAXED);
        return found != turn && __atomic_compare_exchange_n(
            flag, &found, turn, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    }
    #define layerwise_leave(flag) __atomic_store_n(flag, 0, __ATOMIC_RELEASE)
    """
    bint layerwise_enter(long* flag, long turn) nogil
    void layerwise_leave(long* flag) nogil

CONVENTION = build.CONVENTION


cdef class Kernel(Layout):
    """A compiled kernel behind its checks; see the module's text for what a call accepts.

    kernel(*arguments, out=None, saved=None, workspace=None, **sizes) returns one result, or a
    tuple; an argument or result of several leaves is a tuple of arrays. Mode "overwrite": results
    are written. Mode "accumulate": they are added into `out` (zeros where it is not given), and
    those that are None in `out` are not computed. `out` is an array, a tuple or a dict by name.
    `saved` has `saved_size(**sizes)` elements, 0 where nothing is saved, `workspace` at least
    `workspace_size(**sizes)`. Sizes that no argument shows are given by keyword; the extents
    `within` are at least 1, too.

    The cotangent of the output is `cotangent` by keyword in every layer, its tangent
    `cotangent_dot`, where the layer has no argument of that name; their own names are y_bar and
    y_bar_dot, or where the layer has a y of its own, J_bar of a number and f_bar of others.

    Ctrl-C is seen within a second over samples and times; KeyboardInterrupt then leaves inputs as
    they were, and results, those that are added to among them, with any numbers.
    """

    cdef object doc

    def __cinit__(self, str name, str doc="", **declared):
        self.doc = doc

    def __call__(self, *given, out=None, saved=None, workspace=None, **named):
        cdef Call call = Call.__new__(Call, self)
        call.given, call.named, call.out = given, named, out
        call.saved, call.workspace = saved, workspace
        fill(call)
        call.run()
        return call.results

    def bind(self, *given, out=None, saved=None, workspace=None, **named):
        """Check arrays once and hold them: `bound()` then runs the kernel on what they contain.

        The same arguments as a call, but all are NumPy arrays that need no copy (TypeError,
        ValueError).
        """
        cdef Bound bound = Bound.__new__(Bound, self)
        bound.binding = True
        bound.given, bound.named, bound.out = given, named, out
        bound.saved, bound.workspace = saved, workspace
        fill(bound)
        return bound

    def __reduce__(self):
        return reference_of(self)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    @property
    def __doc__(self):
        return self.doc

    def __repr__(self):
        return f"<Kernel {self.name}{self.__signature__}>"


cdef class Bound(Call):
    """A kernel with the arrays of one call: checked once, held, run as often as called.

    bound() runs the kernel and returns `bound.results`. Indices and masks are checked again at each
    call, since the arrays may have been refilled; of what another thread writes into them during a
    call, an index that is out of range is read as 0. Not re-entrant: a call while one is running
    raises RuntimeError. In the child of a fork it is free, whatever ran in the parent.
    """

    cdef long busy           # the number of forks before the call that is running, 0 without one

    def __call__(self):
        if not layerwise_enter(&self.busy, forks()):
            raise RuntimeError(f"{self.kernel.name}: this bound kernel is running in another "
                               "thread; bind one for each thread")
        try:
            ranges(self)
            self.run()
        finally:
            layerwise_leave(&self.busy)
        return self.results

    def __reduce__(self):
        raise PicklingError(
            f"{self.kernel.name}: a bound kernel holds the arrays of one process; pickle the "
            "kernel, and bind it where it is read")

    def __repr__(self):
        sizes = ", ".join([f"{name}={value}" for name, value in zip(self.kernel.sizes, known(self))])
        return f"<Bound {self.kernel.name} {dtype_of(self)} {sizes}>"


def admit(str name, int convention, str source_hash, str path, str features):
    """Let a generated module be imported, or say why it must be built anew (ImportError).

    From then on it pickles as a reference.

    Refused are modules for another calling convention, modules whose `.pyx` beside them is not the
    text they were compiled from, and modules compiled for CPU features that this one lacks.
    """
    if convention != build.CONVENTION:
        refuse(name, f"was compiled for calling convention {convention}, this is "
               f"{build.CONVENTION}")
    text = os.path.join(os.path.dirname(path), name.rpartition(".")[2] + ".pyx")
    if os.path.exists(text) and sha256_of(text) != source_hash:
        refuse(name, f"was compiled from another text than {text}")
    lacking = [f for f in features.split() if not layerwise_cpu_supports(f.encode("ascii"))]
    if lacking:
        refuse(name, f"was compiled for a CPU with {', '.join(lacking)}, which this one lacks")
    module = sys.modules.get(name)
    if getattr(module, "__file__", None) == path:  # not one that had the name before
        referable(module)


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def refuse(name, reason):
    raise ImportError(f"{name} {reason}; run: derive build", name=name)
