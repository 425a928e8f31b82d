// The kernels of packed formats: equal bits for all instructions, and equal to the formulas.
#include "quantization/cpu/kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
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

/// The instructions that this processor has.
std::vector<Simd> supported() {
  std::vector<Simd> all{Simd::kPlain, Simd::kAvx2, Simd::kAvx512};
  std::erase_if(all, [](Simd simd) { return !cpu::supports(simd); });
  return all;
}

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
  for (const Simd simd : supported()) {
    expect_equal_look_ups<float>(simd);
    expect_equal_look_ups<BFloat16>(simd);
    expect_equal_look_ups<Half>(simd);
  }
}

/// Values of blocks, some of whose scales are not finite or give the smallest numbers.
template <typename V, typename S>
void expect_equal_decoding() {
  constexpr int64_t kBlocks = 70;
  const Tensor codebook = codebook4("nf4"), scales = normal({kBlocks}, 5, at::kFloat);
  const float special[] = {0.0F, -0.0F, 1e-40F, 1e-38F, 3.3e38F, INFINITY, NAN};
  std::copy(std::begin(special), std::end(special), scales.mutable_data_ptr<float>() + 3);
  for (const int64_t pairs : {16, 32, 2048}) {
    const Tensor codes = at::randint(0, 256, {kBlocks * pairs}, at::detail::createCPUGenerator(4), at::kByte);
    const auto decoded = [&](Simd simd) {
      std::vector<S> out(static_cast<size_t>(kBlocks * pairs * 2));
      cpu::decode_blocks4<V, S>(codes.const_data_ptr<uint8_t>(), kBlocks, pairs, codebook.const_data_ptr<float>(),
                                scales.const_data_ptr<float>(), out.data(), simd);
      return out;
    };
    std::vector<S> expected(static_cast<size_t>(kBlocks * pairs * 2)), tables(kBlocks * 16);
    cpu::make_tables4<V, S>(codebook.const_data_ptr<float>(), scales.const_data_ptr<float>(), kBlocks, tables.data());
    cpu::look_up_blocks(codes.const_data_ptr<uint8_t>(), kBlocks, pairs, tables.data(), expected.data(), Simd::kPlain);
    for (const Simd simd : supported()) {
      EXPECT_EQ(std::memcmp(decoded(simd).data(), expected.data(), expected.size() * sizeof(S)), 0) << pairs << " " << sizeof(S);
    }
  }
}

TEST(Kernels, AllInstructionsDecodeToTheSameBits) {
  expect_equal_decoding<float, BFloat16>();
  expect_equal_decoding<BFloat16, BFloat16>();
  expect_equal_decoding<Half, BFloat16>();
  expect_equal_decoding<float, float>();
  expect_equal_decoding<BFloat16, float>();
  expect_equal_decoding<Half, Half>();
}

constexpr int64_t kTokens = 7;

/// [T, prepared_size(I)] from x [T, I].
Tensor prepared_inputs(const Tensor& x_TI) {
  const int64_t tokens = x_TI.size(0), columns = x_TI.size(1), size = cpu::prepared_size(columns);
  Tensor prepared = at::empty({tokens, size});
  for (int64_t t = 0; t < tokens; ++t) {
    cpu::prepare_inputs4(x_TI[t].const_data_ptr<float>(), columns, prepared.mutable_data_ptr<float>() + t * size);
  }
  return prepared;
}

TEST(Kernels, AllInstructionsMultiplyToTheSameBits) {
  const Tensor codebook = codebook4("nf4");
  for (const int64_t columns : {8, 64, 96, 128, 200, 576, 2048}) {
    for (const int bits : {5, 6, 7, 12}) {
      for (const int64_t offset : {0, 8, 24}) {
        const Tensor codes = at::randint(0, 256, {columns / 2}, at::detail::createCPUGenerator(1), at::kByte);
        const Tensor x = normal({kTokens, columns}, 2, at::kFloat), scales = normal({columns / 32 + 20}, 3, at::kFloat);
        const Tensor prepared = prepared_inputs(x);
        const cpu::Row4 row{codes.const_data_ptr<uint8_t>(), columns, codebook.const_data_ptr<float>(),
                            scales.const_data_ptr<float>(),  offset,  bits};
        const Tensor expected = at::empty({kTokens});
        for (int64_t t = 0; t < kTokens; ++t) {  // one by one: the bits do not depend on how many there are
          cpu::multiply_row4(row, prepared[t].const_data_ptr<float>(), 1, Simd::kPlain, expected.mutable_data_ptr<float>() + t);
        }
        const Tensor values =
            codebook.index_select(0, at::stack({codes.bitwise_right_shift(4), codes.bitwise_and(15)}, 1).flatten().to(at::kInt));
        const Tensor blocks = (at::arange(columns) + offset).bitwise_right_shift(bits);
        const Tensor exact = x.to(at::kDouble).mv((values * scales.index_select(0, blocks)).to(at::kDouble));
        EXPECT_LT((expected - exact).abs().max().item<double>(), 1e-4) << columns << " " << bits << " " << offset;
        for (const Simd simd : supported()) {
          for (const int64_t count : {int64_t{1}, int64_t{2}, int64_t{3}, kTokens}) {
            const Tensor sums = at::empty({count});
            cpu::multiply_row4(row, prepared.const_data_ptr<float>(), count, simd, sums.mutable_data_ptr<float>());
            EXPECT_TRUE(at::equal(sums, expected.slice(0, 0, count))) << columns << " " << bits << " " << offset << " " << count;
          }
        }
      }
    }
  }
}

TEST(Kernels, AllInstructionsMultiplyInt8ToTheSameBits) {
  for (const int64_t columns : {1, 63, 64, 200, 1024}) {
    const Tensor codes = at::randint(-128, 128, {columns}, at::detail::createCPUGenerator(1), at::kChar);
    const Tensor x = normal({kTokens, columns}, 2, at::kFloat), expected = at::empty({kTokens});
    const auto multiply = [&](int64_t first, int64_t count, Simd simd, const Tensor& sums) {
      cpu::multiply_int8(codes.const_data_ptr<int8_t>(), columns, x[first].const_data_ptr<float>(), count, simd,
                         sums.mutable_data_ptr<float>());
    };
    for (int64_t t = 0; t < kTokens; ++t) {
      multiply(t, 1, Simd::kPlain, expected.slice(0, t));
    }
    EXPECT_LT((expected - x.to(at::kDouble).mv(codes.to(at::kDouble))).abs().max().item<double>(), 2e-2);
    for (const Simd simd : supported()) {
      for (const int64_t count : {int64_t{1}, int64_t{2}, int64_t{3}, kTokens}) {
        const Tensor sums = at::empty({count});
        multiply(0, count, simd, sums);
        EXPECT_TRUE(at::equal(sums, expected.slice(0, 0, count))) << columns << " " << count;
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
    const int64_t rows = c.rows - c.rows / 3, stride = rows + 2;
    const Tensor x = normal({3, c.columns}, 6, at::kFloat), y = at::zeros({3, stride}), one = at::zeros({rows});
    matrix->multiply_rows(x.const_data_ptr<float>(), 3, c.rows / 3, c.rows, y.mutable_data_ptr<float>(), stride);
    const Tensor W = io::decoded(*matrix, at::kFloat).slice(0, c.rows / 3).to(at::kDouble);
    expect_close(y.slice(1, 0, rows), x.to(at::kDouble).mm(W.t()), 1e-5, matrix->format());
    EXPECT_EQ(y.slice(1, rows).abs().max().item<float>(), 0);
    matrix->multiply_rows(x[1].const_data_ptr<float>(), 1, c.rows / 3, c.rows, one.mutable_data_ptr<float>(), rows);
    expect_equal(one, y[1].slice(0, 0, rows), matrix->format());
  }
}

}  // namespace
}  // namespace lora::quantization
