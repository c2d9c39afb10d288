/* The matrix primitive on strided arrays, float64 and float32 from one text.

   gemm:  C[m*cm + n*cn] += alpha * sum_k A[m*am + k*ak] * B[k*bk + n*bn]

   C overlaps neither A nor B. No allocation. The loop form follows the strides: axpy form where a
   row (or a column) of C is contiguous, dot form where the summed axis is, plain loops otherwise. */
#ifndef LAYERWISE_PRIMITIVES_H
#define LAYERWISE_PRIMITIVES_H

#include <stddef.h>
#include <string.h>

enum {
    LAYERWISE_LANES = 16, /* independent partial sums of a dot product */
    LAYERWISE_SHORT = 4   /* a row this short does not pay for the axpy form */
};

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
/* bn == cn == 1: rows of C are sums of rows of B */                                              \
static inline void gemm_rows_##TYPE(                                                              \
    ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, T alpha, const T *A, ptrdiff_t am, ptrdiff_t ak,       \
    const T *B, ptrdiff_t bk, T *C, ptrdiff_t cm)                                                 \
{                                                                                                 \
    for (ptrdiff_t m = 0; m < M; m++)                                                             \
        for (ptrdiff_t k = 0; k < K; k++)                                                         \
            axpy_##TYPE(N, alpha * A[m * am + k * ak], B + k * bk, C + m * cm);                   \
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
static inline void gemm_##TYPE(                                                                   \
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
}

LAYERWISE_PRIMITIVES(float64, double)
LAYERWISE_PRIMITIVES(float32, float)

#endif
