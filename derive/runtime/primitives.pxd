"""The primitives that kernels are lowered to, float64 and float32 from one text.

Inlines; what asks for signals is the one function of `derive.runtime.interrupt`.
"""

from libc.stdint cimport int64_t, uint64_t

from derive.runtime.elementary cimport real
from derive.runtime.interrupt cimport is_interrupted, is_interrupted_now

cdef extern from "primitives.h" nogil:
    void gemm_float64(
        Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
        double alpha, const double* A, Py_ssize_t am, Py_ssize_t ak,
        const double* B, Py_ssize_t bk, Py_ssize_t bn,
        double* C, Py_ssize_t cm, Py_ssize_t cn, int (*stop)() noexcept nogil) noexcept
    void gemm_float32(
        Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
        float alpha, const float* A, Py_ssize_t am, Py_ssize_t ak,
        const float* B, Py_ssize_t bk, Py_ssize_t bn,
        float* C, Py_ssize_t cm, Py_ssize_t cn, int (*stop)() noexcept nogil) noexcept
    void fill_float64(Py_ssize_t count, double value, double* array) noexcept
    void fill_float32(Py_ssize_t count, float value, float* array) noexcept
    void copy_float64(Py_ssize_t count, const double* source, double* target) noexcept
    void copy_float32(Py_ssize_t count, const float* source, float* target) noexcept
    void add_float64(Py_ssize_t count, const double* source, double* target) noexcept
    void add_float32(Py_ssize_t count, const float* source, float* target) noexcept
    Py_ssize_t floordiv "layerwise_floordiv" (Py_ssize_t a, Py_ssize_t b) noexcept


cdef inline void gemm(
    Py_ssize_t M, Py_ssize_t N, Py_ssize_t K,
    real alpha, const real* A, Py_ssize_t am, Py_ssize_t ak,
    const real* B, Py_ssize_t bk, Py_ssize_t bn,
    real* C, Py_ssize_t cm, Py_ssize_t cn) noexcept nogil:
    """C[m*cm + n*cn] += alpha * sum_k A[m*am + k*ak] * B[k*bk + n*bn]; C overlaps neither A nor B."""
    if real is double:
        gemm_float64(M, N, K, alpha, A, am, ak, B, bk, bn, C, cm, cn, is_interrupted_now)
    else:
        gemm_float32(M, N, K, alpha, A, am, ak, B, bk, bn, C, cm, cn, is_interrupted_now)


cdef inline void fill(Py_ssize_t count, real value, real* array) noexcept nogil:
    """array[:count] = value"""
    if real is double:
        fill_float64(count, value, array)
    else:
        fill_float32(count, value, array)


cdef inline void copy(Py_ssize_t count, const real* source, real* target) noexcept nogil:
    """target[:count] = source[:count]; the two do not overlap."""
    if real is double:
        copy_float64(count, source, target)
    else:
        copy_float32(count, source, target)


cdef inline void add(Py_ssize_t count, const real* source, real* target) noexcept nogil:
    """target[:count] += source[:count]; the two do not overlap."""
    if real is double:
        add_float64(count, source, target)
    else:
        add_float32(count, source, target)


cdef inline real* selected(
    Py_ssize_t rows, Py_ssize_t width, const real* mask, const real* source, real* target
) noexcept nogil:
    """source, its rows being zero where the mask is: a copy in target where there are such rows."""
    cdef Py_ssize_t row, first = 0
    while first < rows and mask[first] != 0:
        first += 1
    if first == rows:
        return <real*>source
    for row in range(rows):
        if mask[row] != 0:
            copy(width, source + row*width, target + row*width)
        else:
            fill(width, <real>0, target + row*width)
    return target


ctypedef fused number:
    int64_t
    float
    double


cdef inline Py_ssize_t checked_index(const number* entry, Py_ssize_t extent) noexcept nogil:
    """The index that an array holds, read once; 0 where it is not in 0 <= index < extent.

    The edge has checked it, but another thread may have written there since.
    """
    cdef number value = (<const volatile number*>entry)[0]
    if number is int64_t:
        return value if <uint64_t>value < <uint64_t>extent else 0
    else:
        return <Py_ssize_t>value if 0 <= value < extent else 0


cdef inline bint interrupted(Py_ssize_t turn) noexcept nogil:
    """Whether a loop around others is left early, at every 32nd turn: Ctrl-C."""
    return turn & 31 == 31 and is_interrupted()
