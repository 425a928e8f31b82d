#include <algorithm>
#include <array>
#include <cstring>

#include "quantization/cpu/simd.h"

namespace lora::quantization::cpu {

namespace {

// A chunk of a row is 16 words of 4 bytes: lane j has word j and its 8 elements, which have one scale. Each lane adds up its products of
// a chunk, multiplies the sum by its scale, and adds that to its total. Values and scales are found once for all vectors of a group.
constexpr int64_t kLanes = 16;
constexpr int64_t kElements = kChunk / kLanes;  // of a word

/// Where element s of a word begins: bytes in ascending order, in each the high half first.
constexpr int shift_of(int64_t s) {
  return static_cast<int>(8 * (s / 2) + (s % 2 == 0 ? 4 : 0));
}

using Lanes = std::array<float, kLanes>;
/// Codes are fetched this far ahead: the processor does not fetch beyond a page by itself.
constexpr int64_t kAhead = 4096;

/// The sum of the lanes in a fixed order.
float sum_of(Lanes lanes) {
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t j = 0; j < half; ++j) {
      lanes[j] += lanes[j + half];
    }
  }
  return lanes[0];
}

/// The codes of a chunk; the last one of a row is padded with zeros.
struct Chunks {
  explicit Chunks(const Row4& row) : codes(row.codes), whole(row.columns / kChunk), count((row.columns + kChunk - 1) / kChunk) {
    std::memcpy(rest.data(), codes + whole * kChunk / 2, static_cast<size_t>(row.columns % kChunk / 2));
  }
  const uint8_t* at(int64_t chunk) const { return chunk < whole ? codes + chunk * kChunk / 2 : rest.data(); }

  const uint8_t* codes;
  int64_t whole, count;
  std::array<uint8_t, kChunk / 2> rest{};
};

/// The totals of the lanes, for each of N vectors whose prepared elements begin `size` apart.
template <int64_t N>
void lanes_plain(const Row4& row, const float* prepared, int64_t size, Lanes* totals) {
  const Chunks chunks(row);
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const uint8_t* const codes = chunks.at(chunk);
    for (int64_t j = 0; j < kLanes; ++j) {
      const float scale = row.scales[(row.offset + chunk * kChunk + kElements * j) >> row.block_bits];
      for (int64_t n = 0; n < N; ++n) {
        float sum = 0;
        for (int64_t s = 0; s < kElements; ++s) {
          const float value = row.codebook[codes[4 * j + s / 2] >> (s % 2 == 0 ? 4 : 0) & 15];
          const float product = value * prepared[n * size + chunk * kChunk + s * kLanes + j];
          sum = s == 0 ? product : sum + product;
        }
        totals[n][static_cast<size_t>(j)] += sum * scale;
      }
    }
  }
}

#ifdef LORA_X86

template <int64_t N>
LORA_AVX512 void lanes_avx512(const Row4& row, const float* prepared, int64_t size, Lanes* totals) {
  const Chunks chunks(row);
  const __m512 codebook = _mm512_loadu_ps(row.codebook);
  const __m512i lane =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(kElements));
  const __m128i bits = _mm_cvtsi32_si128(row.block_bits);
  const int64_t mask = (int64_t{1} << row.block_bits) - 1;
  __m512 total[N], sum[N];
  for (int64_t n = 0; n < N; ++n) {
    total[n] = _mm512_setzero_ps();
  }
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const uint8_t* const codes = chunks.at(chunk);
    _mm_prefetch(reinterpret_cast<const char*>(codes + kAhead), _MM_HINT_T0);
    const __m512i words = _mm512_loadu_si512(codes);
    const float* const x = prepared + chunk * kChunk;
#pragma GCC unroll 8
    for (int64_t s = 0; s < kElements; ++s) {
      const __m512 values = _mm512_permutexvar_ps(_mm512_srli_epi32(words, static_cast<unsigned>(shift_of(s))), codebook);
#pragma GCC unroll 4
      for (int64_t n = 0; n < N; ++n) {
        const __m512 products = _mm512_mul_ps(values, _mm512_loadu_ps(x + n * size + s * kLanes));
        sum[n] = s == 0 ? products : _mm512_add_ps(sum[n], products);
      }
    }
    const int64_t begin = row.offset + chunk * kChunk;
    const __m512i block = _mm512_srl_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(begin & mask))), bits);
    const __m512 scales = _mm512_permutexvar_ps(block, _mm512_loadu_ps(row.scales + (begin >> row.block_bits)));
#pragma GCC unroll 4
    for (int64_t n = 0; n < N; ++n) {
      total[n] = _mm512_add_ps(total[n], _mm512_mul_ps(sum[n], scales));
    }
  }
  for (int64_t n = 0; n < N; ++n) {
    _mm512_storeu_ps(totals[n].data(), total[n]);
  }
}

template <int64_t N>
LORA_AVX2 void lanes_avx2(const Row4& row, const float* prepared, int64_t size, Lanes* totals) {
  const Chunks chunks(row);
  const __m256 low = _mm256_loadu_ps(row.codebook), high = _mm256_loadu_ps(row.codebook + 8);
  const __m128i bits = _mm_cvtsi32_si128(row.block_bits);
  const int64_t mask = (int64_t{1} << row.block_bits) - 1;
  for (int64_t half = 0; half < 2; ++half) {
    const __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56), _mm256_set1_epi32(static_cast<int>(64 * half)));
    __m256 total[N], sum[N];
    for (int64_t n = 0; n < N; ++n) {
      total[n] = _mm256_setzero_ps();
    }
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunks.at(chunk) + 32 * half));
      const float* const x = prepared + chunk * kChunk + 8 * half;
#pragma GCC unroll 8
      for (int64_t s = 0; s < kElements; ++s) {
        const __m256i index = _mm256_srli_epi32(words, shift_of(s));
        const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
        const __m256 values = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), upper);
#pragma GCC unroll 4
        for (int64_t n = 0; n < N; ++n) {
          const __m256 products = _mm256_mul_ps(values, _mm256_loadu_ps(x + n * size + s * kLanes));
          sum[n] = s == 0 ? products : _mm256_add_ps(sum[n], products);
        }
      }
      const int64_t begin = row.offset + chunk * kChunk;
      const __m256i block = _mm256_srl_epi32(_mm256_add_epi32(lane, _mm256_set1_epi32(static_cast<int>(begin & mask))), bits);
      const __m256 scales = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row.scales + (begin >> row.block_bits)), block);
#pragma GCC unroll 4
      for (int64_t n = 0; n < N; ++n) {
        total[n] = _mm256_add_ps(total[n], _mm256_mul_ps(sum[n], scales));
      }
    }
    for (int64_t n = 0; n < N; ++n) {
      _mm256_storeu_ps(totals[n].data() + 8 * half, total[n]);
    }
  }
}

#endif

template <int64_t N>
void multiply_group(const Row4& row, const float* prepared, Simd simd, float* sums) {
  const int64_t size = prepared_size(row.columns);
  Lanes totals[N] = {};
#ifdef LORA_X86
  const auto lanes = simd == Simd::kAvx512 ? lanes_avx512<N> : simd == Simd::kAvx2 ? lanes_avx2<N> : lanes_plain<N>;
#else
  (void)simd;
  const auto lanes = lanes_plain<N>;
#endif
  lanes(row, prepared, size, totals);
  for (int64_t n = 0; n < N; ++n) {
    sums[n] = sum_of(totals[n]);
  }
}

/// Calls run<N>(first) for groups of N vectors, at most 4, that are `count` together.
template <typename Run>
void in_groups(int64_t count, const Run& run) {
  int64_t first = 0;
  for (; first + 4 <= count; first += 4) {
    run.template operator()<4>(first);
  }
  switch (count - first) {
    case 3:
      return run.template operator()<3>(first);
    case 2:
      return run.template operator()<2>(first);
    case 1:
      return run.template operator()<1>(first);
    default:
      return;
  }
}

constexpr int64_t kSums = 4;  // of every lane, independent of one another
constexpr int64_t kWidth = kSums * kLanes;

/// The lanes of Σ codes[i] x[i] over the first `count` elements, a multiple of kWidth, for each of N vectors that begin `size` apart.
template <int64_t N>
LORA_SIMD void lanes_int8(const int8_t* codes, int64_t count, const float* x, int64_t size, Lanes* lanes) {
  float sums[N][kWidth] = {};
  for (int64_t i = 0; i < count; i += kWidth) {
    float values[kWidth];
#pragma omp simd
    for (int64_t j = 0; j < kWidth; ++j) {
      values[j] = static_cast<float>(codes[i + j]);
    }
    for (int64_t n = 0; n < N; ++n) {
#pragma omp simd
      for (int64_t j = 0; j < kWidth; ++j) {
        sums[n][j] += values[j] * x[n * size + i + j];
      }
    }
  }
  for (int64_t n = 0; n < N; ++n) {
    for (size_t j = 0; j < kLanes; ++j) {
      lanes[n][j] = (sums[n][j] + sums[n][kLanes + j]) + (sums[n][2 * kLanes + j] + sums[n][3 * kLanes + j]);
    }
  }
}

#ifdef LORA_X86

template <int64_t N>
LORA_AVX512 void lanes_int8_avx512(const int8_t* codes, int64_t count, const float* x, int64_t size, Lanes* lanes) {
  __m512 sums[N][kSums];
#pragma GCC unroll 4
  for (int64_t n = 0; n < N; ++n) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < kSums; ++k) {
      sums[n][k] = _mm512_setzero_ps();
    }
  }
  for (int64_t i = 0; i < count; i += kWidth) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + i + kAhead), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int64_t k = 0; k < kSums; ++k) {
      const __m512 values =
          _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i + k * kLanes))));
#pragma GCC unroll 4
      for (int64_t n = 0; n < N; ++n) {
        sums[n][k] = _mm512_add_ps(sums[n][k], _mm512_mul_ps(values, _mm512_loadu_ps(x + n * size + i + k * kLanes)));
      }
    }
  }
#pragma GCC unroll 4
  for (int64_t n = 0; n < N; ++n) {
    _mm512_storeu_ps(lanes[n].data(), _mm512_add_ps(_mm512_add_ps(sums[n][0], sums[n][1]), _mm512_add_ps(sums[n][2], sums[n][3])));
  }
}

#endif

}  // namespace

void prepare_inputs4(const float* x, int64_t columns, float* prepared) {
  for (int64_t begin = 0; begin < columns; begin += kChunk) {
    const int64_t words = std::min(kChunk, columns - begin) / kElements;
    for (int64_t s = 0; s < kElements; ++s) {
      for (int64_t j = 0; j < words; ++j) {
        prepared[begin + s * kLanes + j] = x[begin + kElements * j + s];
      }
      for (int64_t j = words; j < kLanes; ++j) {
        prepared[begin + s * kLanes + j] = 0.0F;
      }
    }
  }
}

void multiply_row4(const Row4& row, const float* prepared, int64_t count, Simd simd, float* sums) {
  in_groups(count, [&]<int64_t N>(int64_t first) {
    multiply_group<N>(row, prepared + first * prepared_size(row.columns), simd, sums + first);
  });
}

void multiply_int8(const int8_t* codes, int64_t columns, const float* x, int64_t count, Simd simd, float* sums) {
  const int64_t whole = columns / kWidth * kWidth;
  in_groups(count, [&]<int64_t N>(int64_t first) {
    Lanes lanes[N];
#ifdef LORA_X86
    (simd == Simd::kAvx512 ? lanes_int8_avx512<N> : lanes_int8<N>)(codes, whole, x + first * columns, columns, lanes);
#else
    (void)simd;
    lanes_int8<N>(codes, whole, x + first * columns, columns, lanes);
#endif
    for (int64_t n = 0; n < N; ++n) {
      float rest = 0;
      for (int64_t i = whole; i < columns; ++i) {
        rest += static_cast<float>(codes[i]) * x[(first + n) * columns + i];
      }
      sums[first + n] = sum_of(lanes[n]) + rest;
    }
  });
}

}  // namespace lora::quantization::cpu
