/* What a kernel in plain C needs beside primitives.h and normal.h: what Cython modules have from
   primitives.pxd and elementary.pxd. No signal ends such a kernel. */
#ifndef LAYERWISE_PLAIN_H
#define LAYERWISE_PLAIN_H

#include <stdint.h>

#include "normal.h"
#include "primitives.h"

static inline int layerwise_never(void) { return 0; }

static inline ptrdiff_t layerwise_max(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
static inline ptrdiff_t layerwise_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline float normal_cdff(float x) { return (float)normal_cdf(x); }
static inline float normal_geluf(float x) { return (float)normal_gelu(x); }
static inline float normal_mean_excessf(float x) { return (float)normal_mean_excess(x); }
static inline float weighted_normal_pdff(float weight, float x)
{
    return (float)weighted_normal_pdf(weight, x);
}

/* the index that an array holds, read once; 0 where it is not in 0 <= index < extent */
static inline ptrdiff_t checked_index_int64(const int64_t *entry, ptrdiff_t extent)
{
    const int64_t value = *(const volatile int64_t *)entry;
    return (uint64_t)value < (uint64_t)extent ? (ptrdiff_t)value : 0;
}

#define LAYERWISE_PLAIN(TYPE, T)                                                                  \
                                                                                                  \
static inline ptrdiff_t checked_index_##TYPE(const T *entry, ptrdiff_t extent)                    \
{                                                                                                 \
    const T value = *(const volatile T *)entry;                                                   \
    return 0 <= value && value < (T)extent ? (ptrdiff_t)value : 0;                                \
}                                                                                                 \
                                                                                                  \
/* source, its rows being zero where the mask is: a copy in target where there are such rows */   \
static inline T *selected_##TYPE(                                                                 \
    ptrdiff_t rows, ptrdiff_t width, const T *mask, const T *source, T *target)                   \
{                                                                                                 \
    ptrdiff_t first = 0;                                                                          \
    while (first < rows && mask[first] != 0)                                                      \
        first++;                                                                                  \
    if (first == rows)                                                                            \
        return (T *)source;                                                                       \
    for (ptrdiff_t row = 0; row < rows; row++) {                                                  \
        if (mask[row] != 0)                                                                       \
            copy_##TYPE(width, source + row * width, target + row * width);                       \
        else                                                                                      \
            fill_##TYPE(width, 0, target + row * width);                                          \
    }                                                                                             \
    return target;                                                                                \
}

LAYERWISE_PLAIN(float64, double)
LAYERWISE_PLAIN(float32, float)

#endif
