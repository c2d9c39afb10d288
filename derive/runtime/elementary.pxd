"""The elementary functions of one real argument, float64 and float32 from one text.

Each calls libm in the precision of its argument. Inlines only: a module that cimports them needs
nothing of this file when it runs.
"""

from libc cimport math as libm

ctypedef fused real:
    float
    double


cdef inline real exp(real x) noexcept nogil:
    if real is double:
        return libm.exp(x)
    else:
        return libm.expf(x)


cdef inline real log(real x) noexcept nogil:
    if real is double:
        return libm.log(x)
    else:
        return libm.logf(x)


cdef inline real tanh(real x) noexcept nogil:
    if real is double:
        return libm.tanh(x)
    else:
        return libm.tanhf(x)


cdef inline real sin(real x) noexcept nogil:
    if real is double:
        return libm.sin(x)
    else:
        return libm.sinf(x)


cdef inline real cos(real x) noexcept nogil:
    if real is double:
        return libm.cos(x)
    else:
        return libm.cosf(x)


cdef inline real sinh(real x) noexcept nogil:
    if real is double:
        return libm.sinh(x)
    else:
        return libm.sinhf(x)


cdef inline real cosh(real x) noexcept nogil:
    if real is double:
        return libm.cosh(x)
    else:
        return libm.coshf(x)


cdef inline real atan(real x) noexcept nogil:
    if real is double:
        return libm.atan(x)
    else:
        return libm.atanf(x)


cdef inline real expm1(real x) noexcept nogil:
    if real is double:
        return libm.expm1(x)
    else:
        return libm.expm1f(x)


cdef inline real log1p(real x) noexcept nogil:
    if real is double:
        return libm.log1p(x)
    else:
        return libm.log1pf(x)


cdef inline real erf(real x) noexcept nogil:
    if real is double:
        return libm.erf(x)
    else:
        return libm.erff(x)


cdef inline real erfc(real x) noexcept nogil:
    if real is double:
        return libm.erfc(x)
    else:
        return libm.erfcf(x)


cdef inline real sqrt(real x) noexcept nogil:
    if real is double:
        return libm.sqrt(x)
    else:
        return libm.sqrtf(x)


cdef inline real fabs(real x) noexcept nogil:
    if real is double:
        return libm.fabs(x)
    else:
        return libm.fabsf(x)


cdef inline real pow(real x, real y) noexcept nogil:
    if real is double:
        return libm.pow(x, y)
    else:
        return libm.powf(x, y)


cdef extern from "normal.h" nogil:
    double normal_cdf_float64 "normal_cdf"(double x) noexcept
    double normal_gelu_float64 "normal_gelu"(double x) noexcept
    double normal_mean_excess_float64 "normal_mean_excess"(double x) noexcept
    double weighted_normal_pdf_float64 "weighted_normal_pdf"(double weight, double x) noexcept


cdef inline real normal_cdf(real x) noexcept nogil:
    """The distribution function of the standard normal distribution."""
    return <real>normal_cdf_float64(x)


cdef inline real normal_gelu(real x) noexcept nogil:
    """x times the distribution function of the standard normal distribution."""
    return <real>normal_gelu_float64(x)


cdef inline real normal_mean_excess(real x) noexcept nogil:
    """The mean of what a normal variable exceeds x by where it does."""
    return <real>normal_mean_excess_float64(x)


cdef inline real weighted_normal_pdf(real weight, real x) noexcept nogil:
    """A weight times the density of the standard normal distribution."""
    return <real>weighted_normal_pdf_float64(weight, x)
