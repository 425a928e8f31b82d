// Which functions are compiled for which instructions, by attributes of functions: no source is compiled with other flags than the rest.
#pragma once
#include "quantization/cpu/kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define LORA_X86 1
// g++ 12 warns of its own intrinsics (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#define LORA_AVX2 __attribute__((target("avx2")))
#define LORA_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#endif
