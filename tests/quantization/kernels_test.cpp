// The kernels of packed formats: equal bits for all instructions, and equal to the formulas.
#include "quantization/cpu/kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "lora/quantization/blockwise4.h"
#include "lora/quantization/quantize.h"
#include "lora/quantization/selected_rows.h"
#include "support/expect_error.h"
#include "support/single_thread.h"
#include "support/tensors.h"

namespace lora::quantization {
namespace {

using cpu::Simd;
using test::expect_close;
using test::expect_equal;
using test::normal;

template <typename S>
std::vector<S> random_tables(int64_t count) {
  const Tensor bytes = at::randint(0, 256, {count * 16 * static_cast<int64_t>(sizeof(S))}, at::detail::createCPUGenerator(3), at::kByte);
  const auto* begin = static_cast<const S*>(bytes.const_data_ptr());
  return {begin, begin + count * 16};
}

template <typename S>
void expect_equal_look_ups(Simd simd) {
  constexpr int64_t kBlocks = 7;
  for (const int64_t pairs : {16, 32, 64, 2048}) {
    const Tensor codes = at::randint(0, 256, {kBlocks * pairs}, at::detail::createCPUGenerator(4), at::kByte);
    const std::vector<S> tables = random_tables<S>(kBlocks);
    std::vector<S> expected(static_cast<size_t>(kBlocks * pairs * 2)), actual(expected.size());
    const auto* bytes = codes.const_data_ptr<uint8_t>();
    cpu::look_up_blocks(bytes, kBlocks, pairs, tables.data(), expected.data(), Simd::kPlain);
    cpu::look_up_blocks(bytes, kBlocks, pairs, tables.data(), actual.data(), simd);
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(S)), 0) << pairs << " " << sizeof(S);
    EXPECT_EQ(std::memcmp(&expected[3], &tables[bytes[1] & 15], sizeof(S)), 0);
  }
}

TEST(Kernels, AllInstructionsLookUpTheSameBits) {
  for (const Simd simd : {Simd::kAvx2, Simd::kAvx512}) {
    if (cpu::supports(simd)) {
      expect_equal_look_ups<float>(simd);
      expect_equal_look_ups<BFloat16>(simd);
      expect_equal_look_ups<Half>(simd);
    }
  }
}

TEST(Kernels, AllInstructionsMultiplyToTheSameBits) {
  const Tensor codebook = codebook4("nf4");
  for (const int64_t columns : {8, 64, 96, 128, 200, 576, 2048}) {
    for (const int bits : {5, 6, 7, 12}) {
      for (const int64_t offset : {0, 8, 24}) {
        const Tensor codes = at::randint(0, 256, {columns / 2}, at::detail::createCPUGenerator(1), at::kByte);
        const Tensor x = normal({columns}, 2, at::kFloat), scales = normal({columns / 32 + 20}, 3, at::kFloat);
        std::vector<float> prepared(static_cast<size_t>(cpu::prepared_size(columns)));
        cpu::prepare_inputs4(x.const_data_ptr<float>(), columns, prepared.data());
        const cpu::Row4 row{codes.const_data_ptr<uint8_t>(), columns, codebook.const_data_ptr<float>(),
                            scales.const_data_ptr<float>(),  offset,  bits};
        const float expected = cpu::multiply_row4(row, prepared.data(), Simd::kPlain);
        const Tensor values =
            codebook.index_select(0, at::stack({codes.bitwise_right_shift(4), codes.bitwise_and(15)}, 1).flatten().to(at::kInt));
        const Tensor blocks = (at::arange(columns) + offset).bitwise_right_shift(bits);
        const auto exact = (values * scales.index_select(0, blocks)).to(at::kDouble).dot(x.to(at::kDouble)).item<double>();
        EXPECT_NEAR(expected, exact, 1e-4) << columns << " " << bits << " " << offset;
        for (const Simd simd : {Simd::kAvx2, Simd::kAvx512}) {
          if (cpu::supports(simd)) {
            EXPECT_EQ(std::bit_cast<uint32_t>(cpu::multiply_row4(row, prepared.data(), simd)), std::bit_cast<uint32_t>(expected));
          }
        }
      }
    }
  }
}

struct Case {
  int64_t rows, columns;
  QuantizationOptions options;
};

const std::vector<Case> kCases{{7, 64, {}},
                               {5, 576, {QuantizationType::kNf4, true, 128}},
                               {3, 200, {QuantizationType::kFp4, false, 32}},
                               {9, 33, {QuantizationType::kNf4, true, 64}},
                               {4, 7, {QuantizationType::kFp4, true, 4096}},
                               {1, 1, {}},
                               {6, 100, {QuantizationType::kInt8}},
                               {2, 4096, {QuantizationType::kNf4, false, 4096}}};

TEST(Quantize, HasTheSameBytesWithAnyNumberOfThreads) {
  // More than two threads' shares of elements, of rows and of scales; blocks and rows end where no share does.
  const Tensor W = normal({1500, 1733}, 7, at::kFloat);
  for (const QuantizationOptions& options : {QuantizationOptions{QuantizationType::kNf4, true, 32}, {QuantizationType::kFp4, false, 4096},
                                             {QuantizationType::kInt8}}) {
    const std::map<std::string, Tensor> alone = [&] {
      const test::Threads threads(1);
      return quantize(W, options)->tensors();
    }();
    const test::Threads threads(3);
    for (const auto& [part, tensor] : quantize(W, options)->tensors()) {
      expect_equal(tensor, alone.at(part), part);
    }
    const Tensor damaged = W.clone();
    damaged.view({-1})[-5] = std::numeric_limits<float>::infinity();
    test::expect_error(ErrorKind::kModel, {"one weight", "not finite"}, [&] { quantize(damaged, options, "one weight"); });
  }
}

TEST(Quantize, ScalesThatDifferByLessThanTheSmallestNumberAreCodes) {
  // Centred scales are so small that their reciprocal is infinite.
  const Tensor W = at::ones({300, 64}) * 0x1p-110;
  W[7] *= 1 + 0x1p-23;
  const auto matrix = quantize(W, {QuantizationType::kNf4, true, 64});
  expect_close(io::decoded(*matrix, at::kFloat) * 0x1p110, W * 0x1p110, 1e-6);
}

TEST(PackedFormats, EveryTileIsAPartOfTheWhole) {
  for (const Case& c : kCases) {
    for (const at::ScalarType value : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const auto matrix = quantize(normal({c.rows, c.columns}, 5, value), c.options);
      for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
        const Tensor whole = io::decoded(*matrix, dtype);
        expect_equal(whole, io::decoded(*matrix, at::kFloat).to(dtype), matrix->format());
        for (const io::Tile& tile : {io::Tile{0, c.rows, 0, c.columns}, {c.rows / 2, c.rows, c.columns / 3, c.columns},
                                     {0, 1, c.columns / 2, c.columns / 2 + 1}, {0, c.rows, 0, (c.columns + 1) / 2}}) {
          const int64_t stride = tile.columns() + 3;
          const Tensor out = at::zeros({tile.rows(), stride}, dtype);
          matrix->decode(tile, dtype, out.mutable_data_ptr(), stride);
          expect_equal(out.slice(1, 0, tile.columns()),
                       whole.slice(0, tile.row_begin, tile.row_end).slice(1, tile.column_begin, tile.column_end));
          EXPECT_EQ(out.slice(1, tile.columns()).abs().max().item<float>(), 0);
          expect_equal(matrix->decoded(tile, dtype), out.slice(1, 0, tile.columns()));
        }
      }
    }
  }
}

/// The values that a device's kernels compute from the codes, by the letter of io::BlockCodes.
Tensor values_of(const io::BlockCodes& codes, int64_t rows, int64_t columns) {
  const Tensor element = at::arange(rows * columns), bytes = codes.codes.flatten();
  Tensor values = bytes.to(at::kFloat);
  if (codes.table.defined()) {
    values = codes.table.index_select(0, at::stack({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}, 1).flatten().to(at::kLong));
  }
  Tensor scales = codes.scales;
  if (codes.nested_table.defined()) {
    const Tensor group = at::arange(scales.size(0)).floor_divide(codes.nested_block_size);
    scales = codes.nested_table.index_select(0, scales.to(at::kLong)) * codes.nested_scales.index_select(0, group) + codes.offset;
  }
  return (values.slice(0, 0, rows * columns) * scales.index_select(0, element.floor_divide(codes.block_size)) * codes.unit)
      .view({rows, columns});
}

TEST(PackedFormats, KernelsGetTheCodesOfTheirRows) {
  const auto run = [](int64_t begin, int64_t end) {
    std::vector<int64_t> rows(static_cast<size_t>(end - begin));
    std::iota(rows.begin(), rows.end(), begin);
    return rows;
  };
  const std::vector<std::pair<QuantizationOptions, bool>> types{{{}, true},
                                                                {{QuantizationType::kFp4, true, 32}, true},
                                                                {{QuantizationType::kInt8}, true},
                                                                {{QuantizationType::kNf4, false, 128}, false}};
  for (const auto& [options, begins_with_a_block] : types) {
    const std::shared_ptr<const io::PackedMatrix> matrix = quantize(normal({272, 64}, 5, at::kFloat), options);
    const Tensor W = io::decoded(*matrix, at::kFloat);
    expect_close(values_of(*matrix->block_codes(), 272, 64), W, 1e-7);
    // Row 128 begins with the 256th block of 32, row 129 with the second half of a block of 128.
    const int64_t begin = begins_with_a_block ? 128 : 129;
    const auto part = select_rows(matrix, run(begin, 211));
    ASSERT_EQ(part->block_codes().has_value(), begins_with_a_block) << matrix->format();
    if (begins_with_a_block) {
      expect_close(values_of(*part->block_codes(), 211 - begin, 64), W.slice(0, begin, 211), 1e-7, matrix->format());
    }
    EXPECT_FALSE(select_rows(matrix, {128, 130})->block_codes().has_value());
  }
  const auto nested = quantize(normal({272, 64}, 5, at::kFloat), {QuantizationType::kFp4, true, 32});
  EXPECT_FALSE(select_rows(nested, run(4, 9))->block_codes().has_value()) << "inside a block of scales";
}

TEST(PackedFormats, RowsAreMultipliedAsTheirValuesAre) {
  for (const Case& c : kCases) {
    const auto matrix = quantize(normal({c.rows, c.columns}, 5, at::kFloat), c.options);
    const Tensor x = normal({c.columns}, 6, at::kFloat), y = at::zeros({c.rows - c.rows / 3});
    matrix->multiply_rows(x.const_data_ptr<float>(), c.rows / 3, c.rows, y.mutable_data_ptr<float>());
    const Tensor W = io::decoded(*matrix, at::kFloat).slice(0, c.rows / 3).to(at::kDouble);
    expect_close(y, W.mv(x.to(at::kDouble)), 1e-5, matrix->format());
  }
}

}  // namespace
}  // namespace lora::quantization
