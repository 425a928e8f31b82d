// Every block type of ggml against the gguf package (scripts/golden/gguf_blocks.py).
#include "lora/quantization/gguf_matrix.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "lora/io/tensors.h"
#include "lora/quantization/selected_rows.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::quantization {
namespace {

const fs::path kFolder = test::kData / "quantized" / "gguf_blocks";

std::shared_ptr<const io::PackedMatrix> matrix_of(const io::GgufFile& file, const io::GgufTensor& tensor) {
  return gguf_matrix(file.bytes(tensor), tensor.shape[0], tensor.shape[1], *tensor.type);
}

/// Compares as bits, so that -0 and NaN count.
void expect_bits(const Tensor& found, const Tensor& expected, const std::string& what) {
  EXPECT_TRUE(at::equal(found.contiguous().view(at::kInt), expected.contiguous().view(at::kInt))) << what;
}

/// Calls check(matrix, expected values) for every type.
template <typename Check>
void for_each_type(const Check& check) {
  const io::GgufFile file(kFolder / "blocks.gguf");
  const io::SafetensorsFile expected(kFolder / "expected.safetensors");
  int64_t count = 0;
  for (const io::GgufTensor& tensor : file.tensors()) {
    if (is_gguf_block(*tensor.type)) {
      const auto matrix = matrix_of(file, tensor);
      EXPECT_EQ(matrix->format(), tensor.name);
      check(*matrix, expected.tensor(tensor.name));
      ++count;
    }
  }
  EXPECT_EQ(count, 13);
}

TEST(GgufMatrix, ValuesAreThoseOfTheGgufPackage) {
  for_each_type([](const io::PackedMatrix& matrix, const Tensor& expected) {
    expect_bits(io::decoded(matrix, at::kFloat), expected, matrix.format());
    EXPECT_EQ(matrix.bytes(), matrix.tensors().at("blocks").numel());
  });
}

TEST(GgufMatrix, TilesMayCutBlocks) {
  for_each_type([](const io::PackedMatrix& matrix, const Tensor& expected) {
    for (const io::Tile& tile : {io::Tile{1, 2, 3, 251}, io::Tile{0, 2, 40, 41}, io::Tile{0, 1, 32, 64}}) {
      expect_bits(matrix.decoded(tile, at::kFloat),
                  expected.slice(0, tile.row_begin, tile.row_end).slice(1, tile.column_begin, tile.column_end), matrix.format());
    }
  });
}

TEST(GgufMatrix, HalfTypesAreRounded) {
  for_each_type([](const io::PackedMatrix& matrix, const Tensor& expected) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
      EXPECT_TRUE(at::equal(io::decoded(matrix, dtype).nan_to_num(7), expected.to(dtype).nan_to_num(7))) << matrix.format();
    }
  });
}

TEST(GgufMatrix, MultipliesRows) {
  const Tensor x = at::stack({at::linspace(-1, 1, 256, at::kFloat), at::linspace(1, 0, 256, at::kFloat)});
  for_each_type([&x](const io::PackedMatrix& matrix, const Tensor& expected) {
    if (!at::isfinite(expected).all().item<bool>()) {
      EXPECT_EQ(matrix.format(), "MXFP4");  // which has the largest exponent, too
      return;
    }
    Tensor y = at::empty({2, 2});
    matrix.multiply_rows(x.const_data_ptr<float>(), 2, 0, 2, y.mutable_data_ptr<float>(), 2);
    const Tensor exact = x.to(at::kDouble).mm(expected.to(at::kDouble).t());
    const Tensor size = x.to(at::kDouble).abs().mm(expected.to(at::kDouble).abs().t());
    EXPECT_TRUE(((y - exact).abs() <= 1e-6 * size).all().item<bool>()) << matrix.format();
  });
}

TEST(GgufMatrix, IsFiniteIfItsValuesAre) {
  const io::GgufFile file(kFolder / "blocks.gguf");
  for (const io::GgufTensor& tensor : file.tensors()) {
    if (!is_gguf_block(*tensor.type)) {
      continue;
    }
    // A NaN of float16 in every place of the last block: scales, and codes that only look like it.
    const Tensor bytes = at::zeros({file.bytes(tensor).numel()}, at::kByte);
    const int64_t last = bytes.numel() - tensor.type->bytes;
    for (int64_t place = last; place + 2 <= bytes.numel(); ++place) {
      const Tensor damaged = bytes.clone();
      damaged[place + 1] = 0x7e;
      const auto matrix = gguf_matrix(damaged, tensor.shape[0], tensor.shape[1], *tensor.type);
      const bool expected = at::isfinite(io::decoded(*matrix, at::kFloat)).all().item<bool>();
      EXPECT_EQ(matrix->is_finite(), expected) << tensor.name << " " << place - last;
      EXPECT_EQ(select_rows(matrix, {1, 0})->is_finite(), expected);
    }
  }
}

TEST(GgufMatrix, RowsCanBeSelected) {
  const io::GgufFile file(kFolder / "blocks.gguf");
  const io::SafetensorsFile expected(kFolder / "expected.safetensors");
  for (const io::GgufTensor& tensor : file.tensors()) {
    if (is_gguf_block(*tensor.type)) {
      const auto selected = select_rows(matrix_of(file, tensor), {1, 0, 1});
      expect_bits(io::decoded(*selected, at::kFloat), expected.tensor(tensor.name).index_select(0, at::tensor({1, 0, 1})), tensor.name);
    }
  }
}

std::string lowercase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

TEST(GgufMatrix, OtherTypesAreRefusedByName) {
  int64_t count = 0;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    const std::string name = entry.path().stem().string();
    if (name.starts_with("refused_")) {
      const io::GgufFile file(entry.path());
      const io::GgufTensor& tensor = file.tensors().front();
      EXPECT_TRUE(name.ends_with(lowercase(tensor.type->name))) << name;
      test::expect_error(ErrorKind::kModel, {std::string("found the ggml type ") + tensor.type->name, "expected one of Q4_0, Q4_1"},
                         [&] { matrix_of(file, tensor); });
      ++count;
    }
  }
  EXPECT_GE(count, 5);
}

TEST(GgufMatrix, TheNumberOfBytesIsChecked) {
  const io::GgufFile file(kFolder / "blocks.gguf");
  const auto q4 = std::find_if(file.tensors().begin(), file.tensors().end(), [](const auto& tensor) { return tensor.name == "Q4_K"; });
  ASSERT_NE(q4, file.tensors().end());
  test::expect_error(ErrorKind::kModel, {"found 288 bytes, expected 432 for 3 rows of 256 elements as Q4_K"},
                     [&] { gguf_matrix(file.bytes(*q4), 3, 256, *q4->type); });
  test::expect_error(ErrorKind::kModel, {"rows of 100 elements"}, [&] { gguf_matrix(file.bytes(*q4), 2, 100, *q4->type); });
}

}  // namespace
}  // namespace lora::quantization
