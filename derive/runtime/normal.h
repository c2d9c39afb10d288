/* The normal distribution function and x times it, to 4 ulp down to where they underflow.
 *
 * For y = |x| >= 3/4, Phi(-y) = exp(-y^2/2) M(y), where M(y) (1 + 2y) is smooth on the whole half
 * line: a polynomial in (y - 5)/(y + 5), as in W. J. Cody, Rational Chebyshev approximations for
 * the error function, Math. Comp. 23 (1969), and J. L. Schonfelder, Math. Comp. 32 (1978). Both
 * polynomials interpolate in Chebyshev points; their relative errors are 7e-20 (inner) and 3e-17.
 * exp(-y^2/2) would turn the rounding of y^2 into y^2/2 times its relative error (700 at the end):
 * what y*y rounds off is taken along, and so is what 1 + 2y and the quotient do. NaN stays NaN.
 */
#ifndef LAYERWISE_NORMAL_H
#define LAYERWISE_NORMAL_H

#include <math.h>

static inline double layerwise_horner(const double *coefficients, int degree, double x)
{
    double sum = coefficients[degree];
    for (int i = degree - 1; i >= 0; i--)
        sum = sum*x + coefficients[i];
    return sum;
}

/* weight Phi(x), rounded to a subnormal number once */
static inline double layerwise_weighted_normal_cdf(double weight, double x)
{
    static const double inner[] = {
        0.3989422804014327, -0.06649038006690544, 0.009973557010035243,
        -0.0011873282154673639, 0.00011543468746461614, -9.444655251026647e-06,
        6.659652604009616e-07, -4.121637794475137e-08, 2.257799209608136e-09,
        -9.955441369415457e-11};
    static const double outer[] = {
        0.8461123547250693, -0.03964700840400638, -0.054008075034081615,
        0.10088858203462767, -0.1006574382164558, 0.07248782697330564,
        -0.03933220136308841, 0.015422845725142032, -0.0035716953405022286,
        -0.00011869398451647304, 0.00042509519861903507, -0.00010817442345730917,
        -2.643428377226518e-05, 1.938195719717148e-05, 5.285366763855968e-07,
        -2.8396000541701527e-06, 1.8741866280767753e-07, 4.040792291860988e-07,
        -4.8621957715720586e-08, -4.4098773136216166e-08, 7.475054062326398e-09};
    if (fabs(x) < 0.75)
        return weight*(0.5 + x*layerwise_horner(inner, 9, x*x));
    if (x > 40)
        return weight;
    if (x < -40)
        return copysign(0.0, weight);
    double y = fabs(x), square = y*y, square_lost = fma(y, y, -square);
    double above = layerwise_horner(outer, 20, (y - 5)/(y + 5));
    double below = 1 + 2*y, below_lost = 1 - (below - 2*y);
    double mills = above/below, lost = (fma(-mills, below, above) - mills*below_lost)/below;
    lost -= 0.5*square_lost*mills;
    double root = exp((y < 37.5 ? -0.5 : -0.25)*square);
    if (x > 0)                                  /* from 37.5 on, 1 - root is 1 like 1 - root^2 */
        return weight*(1 - fma(mills, root, lost*root));
    if (y < 37.5)
        return weight*fma(mills, root, lost*root);
    return weight*(mills + lost)*root*root;     /* root^2 is subnormal: that product comes last */
}

static inline double normal_cdf(double x) { return layerwise_weighted_normal_cdf(1, x); }
static inline double normal_gelu(double x) { return layerwise_weighted_normal_cdf(x, x); }

#endif
