/* The matrix primitive on strided arrays, float64 and float32 from one text.

   gemm:  C[m*cm + n*cn] += alpha * sum_k A[m*am + k*ak] * B[k*bk + n*bn]

   C overlaps neither A nor B. No allocation. The loop form follows the strides: axpy form where a
   row (or a column) of C is contiguous, dot form where the summed axis is, plain loops otherwise.
   A long one asks now and then whether it is to stop, and returns early then, with C half made. */
#ifndef LAYERWISE_PRIMITIVES_H
#define LAYERWISE_PRIMITIVES_H

#include <stddef.h>
#include <string.h>

enum {
    LAYERWISE_LANES = 16, /* independent partial sums of a dot product */
    LAYERWISE_SHORT = 4,  /* a row this short does not pay for the axpy form */
    LAYERWISE_PANEL = 256, /* columns whose rows stay near while those of C are made */
    LAYERWISE_LONG = 1 << 18, /* products from one question whether to stop to the next, */
    LAYERWISE_BLOCK = 32 /* but so many rows at least */
};

/* Not within others, so that these stay as quick as without it. */
#define LAYERWISE_APART static __attribute__((noinline, unused)) void

#define LAYERWISE_PRIMITIVES(TYPE, T)                                                             \
                                                                                                  \
static inline void fill_##TYPE(ptrdiff_t count, T value, T *array)                                \
{                                                                                                 \
    for (ptrdiff_t i = 0; i < count; i++)                                                         \
        array[i] = value;                                                                         \
}                                                                                                 \
                                                                                                  \
static inline void copy_##TYPE(ptrdiff_t count, const T *source, T *target)                       \
{                                                                                                 \
    memcpy(target, source, (size_t)count * sizeof(T));                                            \
}                                                                                                 \
                                                                                                  \
static inline void add_##TYPE(ptrdiff_t count, const T *restrict source, T *restrict target)      \
{                                                                                                 \
    for (ptrdiff_t i = 0; i < count; i++)                                                         \
        target[i] += source[i];                                                                   \
}                                                                                                 \
                                                                                                  \
/* y += a * x */                                                                                  \
static inline void axpy_##TYPE(ptrdiff_t count, T a, const T *restrict x, T *restrict y)          \
{                                                                                                 \
    for (ptrdiff_t i = 0; i < count; i++)                                                         \
        y[i] += a * x[i];                                                                         \
}                                                                                                 \
                                                                                                  \
static inline T dot_##TYPE(ptrdiff_t count, const T *restrict x, const T *restrict y)             \
{                                                                                                 \
    T lane[LAYERWISE_LANES] = {0}, sum = 0;                                                       \
    ptrdiff_t i = 0;                                                                              \
    for (; i + LAYERWISE_LANES <= count; i += LAYERWISE_LANES)                                    \
        for (int j = 0; j < LAYERWISE_LANES; j++)                                                 \
            lane[j] += x[i + j] * y[i + j];                                                       \
    for (; i < count; i++)                                                                        \
        sum += x[i] * y[i];                                                                       \
    for (int j = 0; j < LAYERWISE_LANES; j++)                                                     \
        sum += lane[j];                                                                           \
    return sum;                                                                                   \
}                                                                                                 \
                                                                                                  \
/* y += a[0] x_0 + .. + a[3] x_3, in this order; row k of x begins at k bk */                     \
static inline void axpy4_##TYPE(ptrdiff_t count, const T *a, const T *restrict x, ptrdiff_t bk,   \
                                T *restrict y)                                                    \
{                                                                                                 \
    const T a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];                                           \
    const T *x1 = x + bk, *x2 = x1 + bk, *x3 = x2 + bk;                                           \
    for (ptrdiff_t i = 0; i < count; i++) {                                                       \
        T sum = y[i];                                                                             \
        sum += a0 * x[i];                                                                         \
        sum += a1 * x1[i];                                                                        \
        sum += a2 * x2[i];                                                                        \
        sum += a3 * x3[i];                                                                        \
        y[i] = sum;                                                                               \
    }                                                                                             \
}                                                                                                 \
                                                                                                  \
/* bn == cn == 1: rows of C are sums of rows of B, a panel of columns at a time */                \
static inline void gemm_rows_##TYPE(                                                              \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, T *C, ptrdiff_t cm)                                                 \
{                                                                                                 \
    for (ptrdiff_t n = 0; n < N; n += LAYERWISE_PANEL) {                                          \
        const ptrdiff_t count = N - n < LAYERWISE_PANEL ? N - n : LAYERWISE_PANEL;                \
        for (ptrdiff_t m = 0; m < M; m++) {                                                       \
            const T *a = A + m * am, *b = B + n;                                                  \
            T *c = C + m * cm + n;                                                                \
            ptrdiff_t k = 0;                                                                      \
            for (; k + 4 <= K; k += 4) {                                                          \
                const T four[4] = {alpha * a[k * ak], alpha * a[(k + 1) * ak],                    \
                                   alpha * a[(k + 2) * ak], alpha * a[(k + 3) * ak]};             \
                axpy4_##TYPE(count, four, b + k * bk, bk, c);                                     \
            }                                                                                     \
            for (; k < K; k++)                                                                    \
                axpy_##TYPE(count, alpha * a[k * ak], b + k * bk, c);                             \
        }                                                                                         \
    }                                                                                             \
}                                                                                                 \
                                                                                                  \
/* ak == bk == 1 */                                                                               \
static inline void gemm_dots_##TYPE(                                                              \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am,                     \
    const T *B, ptrdiff_t bn, T *C, ptrdiff_t cm, ptrdiff_t cn)                                   \
{                                                                                                 \
    for (ptrdiff_t m = 0; m < M; m++)                                                             \
        for (ptrdiff_t n = 0; n < N; n++)                                                         \
            C[m * cm + n * cn] += alpha * dot_##TYPE(K, A + m * am, B + n * bn);                  \
}                                                                                                 \
                                                                                                  \
static inline void gemm_plain_##TYPE(                                                             \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, ptrdiff_t bn, T *C, ptrdiff_t cm, ptrdiff_t cn)                     \
{                                                                                                 \
    for (ptrdiff_t m = 0; m < M; m++)                                                             \
        for (ptrdiff_t n = 0; n < N; n++) {                                                       \
            T sum = 0;                                                                            \
            for (ptrdiff_t k = 0; k < K; k++)                                                     \
                sum += A[m * am + k * ak] * B[k * bk + n * bn];                                   \
            C[m * cm + n * cn] += alpha * sum;                                                    \
        }                                                                                         \
}                                                                                                 \
                                                                                                  \
static inline void gemm_whole_##TYPE(                                                             \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, ptrdiff_t bn, T *C, ptrdiff_t cm, ptrdiff_t cn)                     \
{                                                                                                 \
    const int rows = bn == 1 && cn == 1, columns = am == 1 && cm == 1;                            \
    const int dots = ak == 1 && bk == 1;                                                          \
    if (rows && (N > LAYERWISE_SHORT || !(dots || columns)))                                      \
        gemm_rows_##TYPE(M, N, K, alpha, A, am, ak, B, bk, C, cm);                                \
    else if (columns && (M > LAYERWISE_SHORT || !dots)) /* the transposed product */              \
        gemm_rows_##TYPE(N, M, K, alpha, B, bn, bk, A, ak, C, cn);                                \
    else if (dots)                                                                                \
        gemm_dots_##TYPE(M, N, K, alpha, A, am, B, bn, C, cm, cn);                                \
    else                                                                                          \
        gemm_plain_##TYPE(M, N, K, alpha, A, am, ak, B, bk, bn, C, cm, cn);                       \
}                                                                                                 \
                                                                                                  \
/* a long one in blocks of rows, or of columns where these are contiguous: the same sums */       \
LAYERWISE_APART gemm_blocks_##TYPE(                                                               \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, ptrdiff_t bn, T *C, ptrdiff_t cm, ptrdiff_t cn, int (*stop)(void))  \
{                                                                                                 \
    const int rows = bn == 1 && cn == 1 && N > LAYERWISE_SHORT;                                   \
    const int columns = am == 1 && cm == 1 && M > LAYERWISE_SHORT && !rows;                       \
    const ptrdiff_t count = columns ? N : M, fitting = LAYERWISE_LONG / ((columns ? M : N) * K);  \
    const ptrdiff_t block = fitting < LAYERWISE_BLOCK ? LAYERWISE_BLOCK : fitting;                \
    for (ptrdiff_t start = 0; start < count; start += block) {                                    \
        const ptrdiff_t part = count - start < block ? count - start : block;                     \
        if (start && stop())                                                                      \
            return;                                                                               \
        if (columns)                                                                              \
            gemm_whole_##TYPE(M, part, K, alpha, A, am, ak, B + start * bn, bk, bn,               \
                              C + start * cn, cm, cn);                                            \
        else                                                                                      \
            gemm_whole_##TYPE(part, N, K, alpha, A + start * am, am, ak, B, bk, bn,               \
                              C + start * cm, cm, cn);                                            \
    }                                                                                             \
}                                                                                                 \
                                                                                                  \
static inline void gemm_##TYPE(                                                                   \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, ptrdiff_t bn, T *C, ptrdiff_t cm, ptrdiff_t cn, int (*stop)(void))  \
{                                                                                                 \
    if (M * N * K > LAYERWISE_LONG)                                                               \
        gemm_blocks_##TYPE(M, N, K, alpha, A, am, ak, B, bk, bn, C, cm, cn, stop);                \
    else                                                                                          \
        gemm_whole_##TYPE(M, N, K, alpha, A, am, ak, B, bk, bn, C, cm, cn);                       \
}

/* the largest whole number that is no larger than a / b, for b > 0 */
static inline ptrdiff_t layerwise_floordiv(ptrdiff_t a, ptrdiff_t b)
{
    return a / b - (a % b < 0);
}

LAYERWISE_PRIMITIVES(float64, double)
LAYERWISE_PRIMITIVES(float32, float)

#endif
