#include <algorithm>
#include <array>
#include <cstring>

#include "quantization/cpu/simd.h"

namespace lora::quantization::cpu {

namespace {

// A chunk of a row is 16 words of 4 bytes: lane j has word j and its 8 elements, which have one scale. Each lane adds up its products of
// a chunk, multiplies the sum by its scale, and adds that to its total.
constexpr int64_t kLanes = 16;
constexpr int64_t kElements = kChunk / kLanes;  // of a word

/// Where element s of a word begins: bytes in ascending order, in each the high half first.
constexpr int shift_of(int64_t s) {
  return static_cast<int>(8 * (s / 2) + (s % 2 == 0 ? 4 : 0));
}

/// The sum of the lanes in a fixed order.
float sum_of(std::array<float, kLanes> lanes) {
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

std::array<float, kLanes> lanes_plain(const Row4& row, const float* prepared) {
  const Chunks chunks(row);
  std::array<float, kLanes> totals{};
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const uint8_t* const codes = chunks.at(chunk);
    for (int64_t j = 0; j < kLanes; ++j) {
      float sum = 0;
      for (int64_t s = 0; s < kElements; ++s) {
        const float value = row.codebook[codes[4 * j + s / 2] >> (s % 2 == 0 ? 4 : 0) & 15];
        const float product = value * prepared[chunk * kChunk + s * kLanes + j];
        sum = s == 0 ? product : sum + product;
      }
      totals[static_cast<size_t>(j)] += sum * row.scales[(row.offset + chunk * kChunk + kElements * j) >> row.block_bits];
    }
  }
  return totals;
}

#ifdef LORA_X86

LORA_AVX512 std::array<float, kLanes> lanes_avx512(const Row4& row, const float* prepared) {
  const Chunks chunks(row);
  const __m512 codebook = _mm512_loadu_ps(row.codebook);
  const __m512i lane =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(kElements));
  const __m128i bits = _mm_cvtsi32_si128(row.block_bits);
  const int64_t mask = (int64_t{1} << row.block_bits) - 1;
  __m512 totals = _mm512_setzero_ps();
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const __m512i words = _mm512_loadu_si512(chunks.at(chunk));
    const float* const x = prepared + chunk * kChunk;
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int64_t s = 0; s < kElements; ++s) {
      const __m512 values = _mm512_permutexvar_ps(_mm512_srli_epi32(words, static_cast<unsigned>(shift_of(s))), codebook);
      const __m512 products = _mm512_mul_ps(values, _mm512_loadu_ps(x + s * kLanes));
      sum = s == 0 ? products : _mm512_add_ps(sum, products);
    }
    const int64_t begin = row.offset + chunk * kChunk;
    const __m512i block = _mm512_srl_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(begin & mask))), bits);
    const __m512 scales = _mm512_permutexvar_ps(block, _mm512_loadu_ps(row.scales + (begin >> row.block_bits)));
    totals = _mm512_add_ps(totals, _mm512_mul_ps(sum, scales));
  }
  std::array<float, kLanes> result;
  _mm512_storeu_ps(result.data(), totals);
  return result;
}

LORA_AVX2 std::array<float, kLanes> lanes_avx2(const Row4& row, const float* prepared) {
  const Chunks chunks(row);
  const __m256 low = _mm256_loadu_ps(row.codebook), high = _mm256_loadu_ps(row.codebook + 8);
  const __m128i bits = _mm_cvtsi32_si128(row.block_bits);
  const int64_t mask = (int64_t{1} << row.block_bits) - 1;
  std::array<float, kLanes> result;
  for (int64_t half = 0; half < 2; ++half) {
    const __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 8, 16, 24, 32, 40, 48, 56), _mm256_set1_epi32(static_cast<int>(64 * half)));
    __m256 totals = _mm256_setzero_ps();
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
      const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunks.at(chunk) + 32 * half));
      const float* const x = prepared + chunk * kChunk + 8 * half;
      __m256 sum = _mm256_setzero_ps();
#pragma GCC unroll 8
      for (int64_t s = 0; s < kElements; ++s) {
        const __m256i index = _mm256_srli_epi32(words, shift_of(s));
        const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
        const __m256 values = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), upper);
        const __m256 products = _mm256_mul_ps(values, _mm256_loadu_ps(x + s * kLanes));
        sum = s == 0 ? products : _mm256_add_ps(sum, products);
      }
      const int64_t begin = row.offset + chunk * kChunk;
      const __m256i block = _mm256_srl_epi32(_mm256_add_epi32(lane, _mm256_set1_epi32(static_cast<int>(begin & mask))), bits);
      const __m256 scales = _mm256_permutevar8x32_ps(_mm256_loadu_ps(row.scales + (begin >> row.block_bits)), block);
      totals = _mm256_add_ps(totals, _mm256_mul_ps(sum, scales));
    }
    _mm256_storeu_ps(result.data() + 8 * half, totals);
  }
  return result;
}

#endif

}  // namespace

void prepare_inputs4(const float* x, int64_t columns, float* prepared) {
  for (int64_t begin = 0; begin < columns; begin += kChunk) {
    const int64_t words = std::min(kChunk, columns - begin) / kElements;
    for (int64_t s = 0; s < kElements; ++s) {
      for (int64_t j = 0; j < kLanes; ++j) {
        prepared[begin + s * kLanes + j] = j < words ? x[begin + kElements * j + s] : 0.0F;
      }
    }
  }
}

float multiply_row4(const Row4& row, const float* prepared, Simd simd) {
#ifdef LORA_X86
  if (simd != Simd::kPlain) {
    return sum_of(simd == Simd::kAvx512 ? lanes_avx512(row, prepared) : lanes_avx2(row, prepared));
  }
#endif
  return sum_of(lanes_plain(row, prepared));
}

LORA_SIMD float multiply_int8(const int8_t* codes, const float* x, int64_t count) {
  constexpr int64_t kSums = 4;  // independent of one another
  constexpr int64_t kWidth = kSums * kLanes;
  float sums[kWidth] = {};
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
#pragma omp simd
    for (int64_t j = 0; j < kWidth; ++j) {
      sums[j] += static_cast<float>(codes[i + j]) * x[i + j];
    }
  }
  std::array<float, kLanes> lanes;
  for (size_t j = 0; j < lanes.size(); ++j) {
    lanes[j] = (sums[j] + sums[kLanes + j]) + (sums[2 * kLanes + j] + sums[3 * kLanes + j]);
  }
  float rest = 0;
  for (; i < count; ++i) {
    rest += static_cast<float>(codes[i]) * x[i];
  }
  return sum_of(lanes) + rest;
}

}  // namespace lora::quantization::cpu
