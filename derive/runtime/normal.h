/* The normal distribution function, x times it, and the density, to 4 ulp down to where they
 * underflow; the mean excess.
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

/* weight phi(x), phi the density; 0 far out, also where the weight is infinite there */
static inline double weighted_normal_pdf(double weight, double x)
{
    if (fabs(x) > 40)
        return weight != weight ? weight : copysign(0.0, weight);
    double y = fabs(x), square = y*y, lost = -0.5*fma(y, y, -square);
    double root = exp((y < 37.5 ? -0.5 : -0.25)*square);
    weight *= 0.3989422804014327;               /* 1/sqrt(2 pi) */
    if (y < 37.5)
        return weight*fma(root, lost, root);
    return weight*(1 + lost)*root*root;         /* root^2 is subnormal: that product comes last */
}

/* E[X - y | X > y] = phi(y)/Phi(-y) - y. For y > 0 times 1 + y it is smooth on the whole half line:
   a polynomial in (y - 4)/(y + 4) that interpolates in Chebyshev points, to 1e-17. */
static inline double normal_mean_excess(double y)
{
    static const double outer[] = {
        1.1280357224473554, -0.06205637998113667, -0.1921037481908368, 0.1929324688791157,
        -0.061071084203151584, -0.030769392023215606, 0.032424205043571394,
        -0.00112908609798541, -0.010605538940715515, 0.003292660342486208,
        0.0027520370292927632, -0.0016937119992097756, -0.0005603819495247815,
        0.000638992392789425, 6.873380328667616e-05, -0.00020239759286673183,
        9.234017243133806e-06, 5.5229531150916865e-05, -1.0322737618097768e-05,
        -1.2628650305334987e-05, 4.671551439358809e-06, 2.12872709297728e-06,
        -1.6259475425271224e-06, -1.0139888754592346e-07, 4.72593578692171e-07,
        -9.817661306843955e-08, -1.1107551441490908e-07, 4.4528489195668205e-08,
        1.8568857721496626e-08, -9.871071467259489e-09, -1.6082886946458407e-09,
        9.887345243433337e-10};
    if (y > 0)
        return layerwise_horner(outer, 31, 1 - 8/(y + 4))/(1 + y);
    return weighted_normal_pdf(1, y)/layerwise_weighted_normal_cdf(1, -y) - y;
}

static inline double normal_cdf(double x) { return layerwise_weighted_normal_cdf(1, x); }
static inline double normal_gelu(double x) { return layerwise_weighted_normal_cdf(x, x); }

#endif
