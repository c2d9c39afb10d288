/* The CPU features a module was compiled with, and whether the running CPU has one. */
#ifndef LAYERWISE_CPU_H
#define LAYERWISE_CPU_H

#include <string.h>

/* The features this text is compiled for, each after a blank. */
static inline const char *layerwise_features(void)
{
    return ""
#ifdef __SSE3__
        " sse3"
#endif
#ifdef __SSSE3__
        " ssse3"
#endif
#ifdef __SSE4_1__
        " sse4.1"
#endif
#ifdef __SSE4_2__
        " sse4.2"
#endif
#ifdef __POPCNT__
        " popcnt"
#endif
#ifdef __AVX__
        " avx"
#endif
#ifdef __AVX2__
        " avx2"
#endif
#ifdef __FMA__
        " fma"
#endif
#ifdef __BMI__
        " bmi"
#endif
#ifdef __BMI2__
        " bmi2"
#endif
#ifdef __AVX512F__
        " avx512f"
#endif
#ifdef __AVX512CD__
        " avx512cd"
#endif
#ifdef __AVX512BW__
        " avx512bw"
#endif
#ifdef __AVX512DQ__
        " avx512dq"
#endif
#ifdef __AVX512VL__
        " avx512vl"
#endif
#ifdef __AVX512IFMA__
        " avx512ifma"
#endif
#ifdef __AVX512VBMI__
        " avx512vbmi"
#endif
#ifdef __AVX512VBMI2__
        " avx512vbmi2"
#endif
#ifdef __AVX512VNNI__
        " avx512vnni"
#endif
#ifdef __AVX512BITALG__
        " avx512bitalg"
#endif
#ifdef __AVX512VPOPCNTDQ__
        " avx512vpopcntdq"
#endif
        ;
}

/* __builtin_cpu_supports takes literals only. */
#if defined(__x86_64__) || defined(__i386__)
#define LAYERWISE_SUPPORTS(FEATURE) if (!strcmp(name, FEATURE)) return __builtin_cpu_supports(FEATURE) != 0;
#else
#define LAYERWISE_SUPPORTS(FEATURE)
#endif

/* 1 where the running CPU has the feature, 0 where it has not or the name is not known. */
static inline int layerwise_cpu_supports(const char *name)
{
    (void)name;
    LAYERWISE_SUPPORTS("sse3")
    LAYERWISE_SUPPORTS("ssse3")
    LAYERWISE_SUPPORTS("sse4.1")
    LAYERWISE_SUPPORTS("sse4.2")
    LAYERWISE_SUPPORTS("popcnt")
    LAYERWISE_SUPPORTS("avx")
    LAYERWISE_SUPPORTS("avx2")
    LAYERWISE_SUPPORTS("fma")
    LAYERWISE_SUPPORTS("bmi")
    LAYERWISE_SUPPORTS("bmi2")
    LAYERWISE_SUPPORTS("avx512f")
    LAYERWISE_SUPPORTS("avx512cd")
    LAYERWISE_SUPPORTS("avx512bw")
    LAYERWISE_SUPPORTS("avx512dq")
    LAYERWISE_SUPPORTS("avx512vl")
    LAYERWISE_SUPPORTS("avx512ifma")
    LAYERWISE_SUPPORTS("avx512vbmi")
    LAYERWISE_SUPPORTS("avx512vbmi2")
    LAYERWISE_SUPPORTS("avx512vnni")
    LAYERWISE_SUPPORTS("avx512bitalg")
    LAYERWISE_SUPPORTS("avx512vpopcntdq")
    return 0;
}

#endif
