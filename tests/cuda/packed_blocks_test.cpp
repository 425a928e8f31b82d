// The kernels of the formats that are no io::BlockCodes, against the decoding on the CPU.
#include "cuda/machines.h"
#include "lora/io/gguf_file.h"
#include "lora/quantization/gguf_matrix.h"
#include "lora/quantization/scaled_codes.h"
#include "support/paths.h"

namespace lora::ops {
namespace {

using quantization::Codes;
using quantization::ScaledCodes;
using quantization::ScaledCodesParts;
using test::kKernelTypes;
using test::machine_name;

class PackedBlocks : public test::OnMachines {};
LORA_ON_MACHINES(PackedBlocks);

/// As bits, so that the sign of zeros counts.
void expect_bits(const Tensor& found, const Tensor& expected, const std::string& what) {
  ASSERT_EQ(found.scalar_type(), expected.scalar_type()) << what;
  const at::ScalarType bits = found.element_size() == 4 ? at::kInt : at::kShort;
  EXPECT_TRUE(at::equal(found.cpu().contiguous().view(bits), expected.contiguous().view(bits))) << what;
}

std::vector<io::Tile> tiles_of(int64_t rows, int64_t columns) {
  return {{0, rows, 0, columns}, {rows / 2, rows, columns / 3, columns - 1}, {0, 1, 8, 24}, {0, 0, 0, columns}};
}

TEST_P(PackedBlocks, OfGgmlAreDecodedToTheBitsOfTheCpu) {
  const io::GgufFile file(test::kData / "quantized" / "gguf_blocks" / "blocks.gguf");
  int formats = 0;
  for (const io::GgufTensor& tensor : file.tensors()) {
    if (!quantization::is_gguf_block(*tensor.type)) {
      continue;
    }
    const int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    const auto matrix = quantization::gguf_matrix(file.bytes(tensor), rows, columns, *tensor.type);
    const GgufCodes codes{*quantization::gguf_block(*tensor.type), there(file.bytes(tensor)), columns};
    for (const at::ScalarType dtype : kKernelTypes) {
      for (const io::Tile& tile : tiles_of(rows, columns)) {
        expect_bits(decode_cuda(kernels(), codes, tile, dtype), matrix->decoded(tile, dtype), tensor.name);
      }
    }
    ++formats;
  }
  EXPECT_EQ(formats, 13);
}

struct GridCase {
  Codes kind;
  int64_t bits, rows, columns, block_rows, block_columns;
  int64_t zeros;  ///< 0: none, 1: one, 2: one for each scale
  bool has_groups;
};

const std::vector<GridCase> kGridCases{
    {Codes::kUnsigned, 4, 4, 64, 1, 32, 2, false},   // AWQ, GPTQ, HQQ
    {Codes::kUnsigned, 3, 3, 40, 1, 16, 2, true},    // GPTQ with desc_act; codes that cross bytes
    {Codes::kUnsigned, 2, 3, 33, 1, 33, 1, false},   // one zero point
    {Codes::kUnsigned, 8, 2, 24, 1, 8, 0, false},  
    {Codes::kUnsigned, 1, 1, 25, 1, 9, 1, false},  
    {Codes::kUnsigned, 5, 2, 64, 1, 64, 2, false}, 
    {Codes::kSigned, 8, 5, 32, 5, 32, 0, false},     // compressed-tensors, one scale
    {Codes::kE4M3, 8, 5, 48, 2, 16, 0, false},       // FP8 with ragged blocks
    {Codes::kE2M1, 4, 2, 64, 1, 32, 0, false}};      // MXFP4

ScaledCodesParts parts_of(const GridCase& c, at::ScalarType dtype) {
  const int64_t bytes = (c.columns * c.bits + 7) / 8, blocks = (c.rows + c.block_rows - 1) / c.block_rows;
  const int64_t groups = (c.columns + c.block_columns - 1) / c.block_columns;
  ScaledCodesParts parts;
  parts.format = "test";
  parts.kind = c.kind;
  parts.bits = c.bits;
  parts.rows = c.rows;
  parts.columns = c.columns;
  parts.block_rows = c.block_rows;
  parts.block_columns = c.block_columns;
  // Every byte except the NaNs of F8_E4M3.
  parts.codes = (at::arange(c.rows * bytes, at::kLong) * 37 % 256).bitwise_and(c.kind == Codes::kE4M3 ? 0xf7 : 0xff).to(at::kByte);
  parts.codes = parts.codes.view({c.rows, bytes});
  parts.scales = test::normal({blocks, groups}, 1, at::kFloat).to(dtype);
  if (c.zeros != 0) {
    parts.zeros = (c.zeros == 1 ? at::full({1}, 1.5) : test::normal({blocks, groups}, 2, at::kFloat) * 3).to(dtype);
  }
  if (c.has_groups) {
    parts.groups = (at::arange(c.columns, at::kLong) * 7 % groups).to(at::kInt);
  }
  return parts;
}

TEST_P(PackedBlocks, OfGridsAreDecodedToTheBitsOfTheCpu) {
  for (const GridCase& c : kGridCases) {
    for (const at::ScalarType value : kKernelTypes) {
      const ScaledCodes matrix(parts_of(c, value), "test");
      GridCodes codes = matrix.grid_codes();
      for (Tensor* tensor : {&codes.codes, &codes.table, &codes.scales, &codes.zeros, &codes.groups}) {
        *tensor = there(*tensor);
      }
      for (const at::ScalarType dtype : kKernelTypes) {
        for (const io::Tile& tile : tiles_of(c.rows, c.columns)) {
          expect_bits(decode_cuda(kernels(), codes, tile, dtype), matrix.decoded(tile, dtype), std::to_string(c.bits) + " bits");
        }
      }
    }
  }
}

}  // namespace
}  // namespace lora::ops
