#include "lora/quantization/gguf_matrix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/ops/decode_on_device.h"
#include "lora/ops/parallel.h"
#include "quantization/cpu/gguf_blocks.h"
#include "quantization/elements.h"

namespace lora::quantization {

namespace {

/// By the name of the io::GgufType.
constexpr EnumTable<GgufBlock, 13> kBlocks{{{{GgufBlock::kQ4_0, "Q4_0"},
                                             {GgufBlock::kQ4_1, "Q4_1"},
                                             {GgufBlock::kQ5_0, "Q5_0"},
                                             {GgufBlock::kQ5_1, "Q5_1"},
                                             {GgufBlock::kQ8_0, "Q8_0"},
                                             {GgufBlock::kQ2_K, "Q2_K"},
                                             {GgufBlock::kQ3_K, "Q3_K"},
                                             {GgufBlock::kQ4_K, "Q4_K"},
                                             {GgufBlock::kQ5_K, "Q5_K"},
                                             {GgufBlock::kQ6_K, "Q6_K"},
                                             {GgufBlock::kIQ4_NL, "IQ4_NL"},
                                             {GgufBlock::kIQ4_XS, "IQ4_XS"},
                                             {GgufBlock::kMXFP4, "MXFP4"}}}};

/// Partial sums of a product.
using PartialSums = std::array<float, 16>;
/// Elements that are decoded at a time: whole blocks of every type.
constexpr int64_t kPieceElements = 1024;
/// A thread checks the scales of at least this many elements.
constexpr int64_t kCheckedPerThread = int64_t{1} << 20;

/// A matrix on a device without kernels that decode its blocks.
class PlainOnDevice : public io::PackedMatrix {
 public:
  PlainOnDevice(Tensor W_OI, std::string format) : W_OI_(std::move(W_OI)), format_(std::move(format)) {}

  int64_t out_features() const override { return W_OI_.size(0); }
  int64_t in_features() const override { return W_OI_.size(1); }
  std::string format() const override { return format_; }
  at::Device device() const override { return W_OI_.device(); }
  at::ScalarType value_dtype() const override { return W_OI_.scalar_type(); }
  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    at::from_blob(out, {tile.rows(), tile.columns()}, {stride, 1}, at::TensorOptions(dtype)).copy_(decoded(tile, dtype));
  }
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override {
    return W_OI_.narrow(0, tile.row_begin, tile.rows()).narrow(1, tile.column_begin, tile.columns()).to(dtype);
  }
  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override {
    return std::make_shared<const PlainOnDevice>(W_OI_.to(device), format_);
  }
  std::map<std::string, Tensor> tensors() const override { return {{"weight", W_OI_}}; }

 private:
  Tensor W_OI_;
  std::string format_;
};

class GgufMatrix : public io::PackedMatrix {
 public:
  GgufMatrix(Tensor blocks, int64_t out_features, int64_t in_features, const io::GgufType& type, GgufBlock block)
      : blocks_(std::move(blocks)), outputs_(out_features), inputs_(in_features), type_(type), block_(block) {}

  int64_t out_features() const override { return outputs_; }
  int64_t in_features() const override { return inputs_; }
  std::string format() const override { return type_.name; }
  at::Device device() const override { return blocks_.device(); }
  at::ScalarType value_dtype() const override { return at::kFloat; }
  int64_t column_step() const override { return type_.elements; }

  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    with_element(dtype, [&]<typename S>() { decode_as(tile, static_cast<S*>(out), stride); });
  }

  void multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const override {
    std::vector<PartialSums> sums(static_cast<size_t>(tokens));
    for (int64_t row = row_begin; row < row_end; ++row) {
      sums.assign(sums.size(), PartialSums{});
      for_each_piece(row, 0, inputs_, [&](const float* values, int64_t column, int64_t count) {
        for (int64_t t = 0; t < tokens; ++t) {
          add_products(values, x_TI + t * inputs_ + column, count, sums[static_cast<size_t>(t)].data());
        }
      });
      for (int64_t t = 0; t < tokens; ++t) {
        float sum = 0;
        for (const float lane : sums[static_cast<size_t>(t)]) {
          sum += lane;
        }
        y[t * stride + row - row_begin] = sum;
      }
    }
  }

  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override {
    const std::optional<Tensor> values = ops::decoded_on_device(ops::GgufCodes{block_, blocks_, inputs_}, tile, dtype);
    return values ? *values : PackedMatrix::decoded(tile, dtype);
  }

  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override {
    if (device.is_cpu() || ops::decodes_on(device)) {
      return std::make_shared<const GgufMatrix>(blocks_.to(device), outputs_, inputs_, type_, block_);
    }
    static const bool is_said = [] {
      log::info(
          "GGUF blocks are decoded when they are moved to this GPU, which has no kernels for them: the base takes the memory of bfloat16 "
          "there");
      return true;
    }();
    (void)is_said;
    return std::make_shared<const PlainOnDevice>(io::decoded(*this, at::kBFloat16).to(device), format());
  }

  std::map<std::string, Tensor> tensors() const override { return {{"blocks", blocks_}}; }
  bool is_finite() const override {
    if (!blocks_.is_cpu()) {
      return to(at::kCPU)->is_finite();
    }
    std::atomic<bool> all = true;
    ops::parallel_for(0, outputs_, std::max<int64_t>(1, kCheckedPerThread / std::max<int64_t>(1, inputs_)),
                      [&](int64_t first, int64_t last) {
                        if (!has_finite_scales(block_, blocks_.const_data_ptr<uint8_t>() + first * row_bytes(),
                                               (last - first) * row_bytes(), type_.bytes)) {
                          all = false;
                        }
                      });
    return all;
  }

 private:
  int64_t row_bytes() const { return inputs_ / type_.elements * type_.bytes; }

  /// Calls take(values, column, count) for the values of whole blocks that cover columns [begin, end) of a row.
  template <typename Take>
  void for_each_piece(int64_t row, int64_t begin, int64_t end, const Take& take) const {
    alignas(64) float values[kPieceElements];
    const auto* bytes = blocks_.const_data_ptr<uint8_t>() + row * row_bytes();
    const int64_t last = (end + type_.elements - 1) / type_.elements;
    const int64_t step = kPieceElements / type_.elements;
    for (int64_t block = begin / type_.elements; block < last; block += step) {
      const int64_t count = std::min(step, last - block);
      decode_gguf(block_, bytes + block * type_.bytes, count, values);
      take(values, block * type_.elements, count * type_.elements);
    }
  }

  template <typename Element>
  void decode_as(const io::Tile& tile, Element* out, int64_t stride) const {
    for (int64_t row = tile.row_begin; row < tile.row_end; ++row) {
      Element* const to = out + (row - tile.row_begin) * stride;
      for_each_piece(row, tile.column_begin, tile.column_end, [&](const float* values, int64_t column, int64_t count) {
        const int64_t first = std::max(column, tile.column_begin), last = std::min(column + count, tile.column_end);
        const float* const from = values + (first - column);
        if constexpr (std::is_same_v<Element, float>) {
          std::memcpy(to + first - tile.column_begin, from, static_cast<size_t>(last - first) * sizeof(float));
        } else {
          narrow_gguf(from, last - first, to + first - tile.column_begin);
        }
      });
    }
  }

  Tensor blocks_;
  int64_t outputs_;
  int64_t inputs_;
  io::GgufType type_;
  GgufBlock block_;
};

}  // namespace

bool is_gguf_block(const io::GgufType& type) {
  return gguf_block(type).has_value();
}

std::optional<ops::GgufBlock> gguf_block(const io::GgufType& type) {
  return kBlocks.find(type.name);
}

std::string gguf_block_names() {
  return join(kBlocks.names());
}

std::shared_ptr<const io::PackedMatrix> gguf_matrix(Tensor blocks, int64_t out_features, int64_t in_features, const io::GgufType& type) {
  const std::optional<GgufBlock> block = gguf_block(type);
  if (!block) {
    model_error("quantised weight", std::string("found the ggml type ") + type.name + ", expected one of " + gguf_block_names());
  }
  const int64_t bytes = in_features / type.elements * type.bytes * out_features;
  if (out_features < 1 || in_features < 1 || in_features % type.elements != 0 || blocks.numel() != bytes) {
    model_error("quantised weight", "found " + std::to_string(blocks.numel()) + " bytes, expected " + std::to_string(bytes) + " for " +
                                        std::to_string(out_features) + " rows of " + std::to_string(in_features) + " elements as " +
                                        type.name);
  }
  return std::make_shared<const GgufMatrix>(std::move(blocks), out_features, in_features, type, *block);
}

}  // namespace lora::quantization
