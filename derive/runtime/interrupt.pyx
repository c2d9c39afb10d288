# cython: language_level=3
"""Ctrl-C while a kernel runs: it asks now and then whether it is to stop.

Python's signal handlers run in the main thread and under Python's lock, which a kernel has let go
of.  In the main thread, therefore, a kernel takes the lock back a few times a second, lets the
handlers run, and returns early where one of them has raised: KeyboardInterrupt, as a rule.  Where
they return it goes on as if nothing had been.
"""

import os
import threading

from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    static _Thread_local void *layerwise_watch;
    """
    void* running "layerwise_watch"      # the innermost Watch of this thread

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef enum:
    FIRST = 4              # questions before the clock is read first
    MOST = 64              # questions to one look at it

cdef double QUICK = 0.002, SLOW = 0.02     # between two looks, in seconds
cdef double SOONEST = 0.05, LATEST = 0.5   # from one look at signals to the next, in seconds
cdef double SHARE = 0.01                   # of the time that waiting for Python's lock may take

cdef unsigned long main_thread = threading.main_thread().ident
cdef long forked = 1


def _after_fork():
    """The thread that has forked is the only one of the child, and its main thread."""
    global main_thread, forked
    main_thread = PyThread_get_thread_ident()
    forked += 1


os.register_at_fork(after_in_child=_after_fork)


cdef long forks() noexcept nogil:
    """1, and one more in the child of each fork."""
    return forked


cdef int is_interrupted() noexcept nogil:
    """Whether the kernel that this thread runs is to stop; asked by the kernel at its loops."""
    cdef Watch* own = <Watch*>running
    if own is NULL:
        return 0
    if own.stopped:
        return 1
    own.turns -= 1
    if own.turns > 0:
        return 0
    return look(own)


cdef int look(Watch* own) noexcept nogil:
    """A question that is worth a look at the clock; the next one is sooner where turns are slow."""
    cdef double before = now(), since = before - own.read
    if since < QUICK:
        own.pace = min(MOST, 2 * own.pace)
    elif since > SLOW and own.read > 0:
        own.pace = 1
    own.turns, own.read = own.pace, before
    return due(own, before)


cdef int is_interrupted_now() noexcept nogil:
    """The same, asked where a look at the clock is nothing against what has been done since."""
    cdef Watch* own = <Watch*>running
    if own is NULL or own.stopped:
        return own is not NULL
    return due(own, now())


cdef int due(Watch* own, double before) noexcept nogil:
    """Let Python's signal handlers run, where it is time."""
    if own.due == 0:
        own.due = before + SOONEST
    if before >= own.due:
        own.stopped = handle(own, before)
    return own.stopped


cdef int handle(Watch* own, double before) noexcept with gil:
    """Signal handlers; 1 where one has raised.

    A busy thread hands over the lock only after a while, so waiting for it sets the pace.
    """
    cdef double waited = now() - before
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        Py_INCREF(error)
        own.raised = <PyObject*>error
        return 1
    own.due = now() + min(LATEST, max(SOONEST, waited / SHARE))
    return 0


cdef double now() noexcept nogil:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + 1e-9 * time.tv_nsec


cdef void watch(Watch* own) noexcept:
    """Watch over the kernel that this thread runs next; only the main thread sees signals."""
    global running
    own.stopped, own.read, own.due, own.raised = 0, 0, 0, NULL
    own.turns = own.pace = FIRST
    own.outer = <Watch*>running
    if PyThread_get_thread_ident() == main_thread:
        running = own


cdef int unwatch(Watch* own) except -1:
    """The kernel has returned; raises what a signal handler has raised meanwhile."""
    global running
    running = own.outer
    if own.raised is not NULL:
        error = <object>own.raised
        Py_DECREF(error)
        raise error
    return 0
