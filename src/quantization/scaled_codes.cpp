#include "lora/quantization/scaled_codes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "quantization/blocks.h"
#include "quantization/cpu/scaled_codes.h"
#include "quantization/elements.h"

namespace lora::quantization {

namespace {

constexpr int64_t kTableSize = 16;  // of cpu::make_scale_tables

cpu::CodeKind kernel_kind(Codes kind) {
  return kind == Codes::kUnsigned ? cpu::CodeKind::kUnsigned : kind == Codes::kSigned ? cpu::CodeKind::kSigned : cpu::CodeKind::kTable;
}

Tensor table_of(Codes kind) {
  constexpr std::array<float, 16> kE2M1Values{0, 0.5F, 1, 1.5F, 2, 3, 4, 6, -0.0F, -0.5F, -1, -1.5F, -2, -3, -4, -6};
  if (kind == Codes::kE2M1) {
    return at::tensor(at::ArrayRef<float>(kE2M1Values));
  }
  return kind == Codes::kE4M3 ? at::arange(256, at::kInt).to(at::kByte).view(at::kFloat8_e4m3fn).to(at::kFloat) : Tensor();
}

[[noreturn]] void wrong_part(const std::string& where, const char* part, const Tensor& found, const std::string& expected) {
  const std::string what =
      found.defined() ? std::string(c10::toString(found.scalar_type())) + " " + io::shape_text(found.sizes()) : "nothing";
  model_error(where, std::string(part) + ": found " + what + ", expected " + expected);
}

void require_shape(const ScaledCodesParts& parts, const std::string& where) {
  if (parts.rows < 1 || parts.columns < 1 || parts.rows > kMostSize || parts.columns > kMostSize || parts.block_rows < 1 ||
      parts.block_columns < 1 || parts.bits < 1 || parts.bits > 8) {
    model_error(where, "found [" + std::to_string(parts.rows) + ", " + std::to_string(parts.columns) + "] in blocks of [" +
                           std::to_string(parts.block_rows) + ", " + std::to_string(parts.block_columns) + "] with " +
                           std::to_string(parts.bits) + " bits, expected a matrix with 1 to 8 bits");
  }
  const int64_t row_bytes = blocks_of(parts.columns * parts.bits, 8);
  if (!parts.codes.defined() || parts.codes.scalar_type() != at::kByte || parts.codes.dim() != 2 || parts.codes.size(0) != parts.rows ||
      parts.codes.size(1) < row_bytes) {
    wrong_part(where, "codes", parts.codes, std::to_string(parts.rows) + " rows of " + std::to_string(row_bytes) + " bytes");
  }
}

void require_scales(const ScaledCodesParts& parts, const std::string& where) {
  const int64_t blocks = blocks_of(parts.rows, parts.block_rows), groups = blocks_of(parts.columns, parts.block_columns);
  const Tensor& scales = parts.scales;
  if (!scales.defined() || !is_value_dtype(scales.scalar_type()) || scales.dim() != 2 || scales.size(0) != blocks ||
      (scales.size(1) != groups && !(parts.groups.defined() && scales.size(1) > 0))) {
    wrong_part(where, "scales", scales, "float32, bfloat16 or float16 [" + std::to_string(blocks) + ", " + std::to_string(groups) + "]");
  }
  if (!at::isfinite(scales).all().item<bool>()) {
    model_error(where, "scales: found a value that is not finite (NaN or infinity). The file is damaged.");
  }
  const Tensor& zeros = parts.zeros;
  if (zeros.defined() && (zeros.scalar_type() != scales.scalar_type() || (zeros.numel() != 1 && zeros.sizes() != scales.sizes()))) {
    wrong_part(where, "zero points", zeros, "one for each scale, " + io::shape_text(scales.sizes()));
  }
  if (zeros.defined() && !at::isfinite(zeros).all().item<bool>()) {
    model_error(where, "zero points: found a value that is not finite (NaN or infinity). The file is damaged.");
  }
}

void require_groups(const ScaledCodesParts& parts, const std::string& where) {
  if (!parts.groups.defined()) {
    return;
  }
  if (parts.groups.scalar_type() != at::kInt || parts.groups.numel() != parts.columns) {
    wrong_part(where, "g_idx", parts.groups, std::to_string(parts.columns) + " int32, one group for each column");
  }
  const auto [low, high] = at::aminmax(parts.groups);
  if (low.item<int32_t>() < 0 || high.item<int32_t>() >= parts.scales.size(1)) {
    model_error(where, "g_idx: found groups from " + std::to_string(low.item<int32_t>()) + " to " + std::to_string(high.item<int32_t>()) +
                           ", expected 0 to " + std::to_string(parts.scales.size(1) - 1));
  }
}

/// The codes 0x7f and 0xff of F8_E4M3 are NaN.
void require_numbers(const ScaledCodesParts& parts, const std::string& where) {
  constexpr int64_t kRows = 256;  // at a time, because the comparison needs memory
  for (int64_t row = 0; parts.kind == Codes::kE4M3 && row < parts.rows; row += kRows) {
    if (parts.codes.slice(0, row, row + kRows).bitwise_and(0x7f).eq(0x7f).any().item<bool>()) {
      model_error(where, "found a value that is not finite (NaN). The file is damaged.");
    }
  }
}

/// Scales and zero points of one row of the grid, in float32.
template <typename V>
void read_scales(const ScaledCodesParts& parts, int64_t block, std::vector<cpu::Scale>& scales) {
  const int64_t groups = parts.scales.size(1);
  const auto* from = static_cast<const V*>(parts.scales.const_data_ptr()) + block * groups;
  const bool is_grid = parts.zeros.defined() && parts.zeros.numel() > 1;
  const auto* zeros =
      parts.zeros.defined() ? static_cast<const V*>(parts.zeros.const_data_ptr()) + (is_grid ? block * groups : 0) : nullptr;
  scales.resize(static_cast<size_t>(groups));
  for (int64_t g = 0; g < groups; ++g) {
    scales[static_cast<size_t>(g)] = {zeros == nullptr ? 0.0F : widened(zeros[is_grid ? g : 0]), widened(from[g])};
  }
}

/// The columns of `tile` of one row, whose scales are given.
template <typename V, typename S>
void decode_row(const ScaledCodesParts& parts, const Tensor& values, const std::vector<cpu::Scale>& scales, const std::vector<S>& tables,
                int64_t row, const io::Tile& tile, S* out) {
  constexpr int64_t kChunk = 1024;
  std::array<uint8_t, kChunk> codes;
  const cpu::CodeKind kind = kernel_kind(parts.kind);
  const float* const table = values.defined() ? values.const_data_ptr<float>() : nullptr;
  const int32_t* const groups = parts.groups.defined() ? parts.groups.const_data_ptr<int32_t>() : nullptr;
  const uint8_t* const bytes = parts.codes.const_data_ptr<uint8_t>() + row * parts.codes.size(1);
  for (int64_t i = tile.column_begin; i < tile.column_end;) {
    const int64_t group = i / parts.block_columns, end = groups != nullptr ? tile.column_end : (group + 1) * parts.block_columns;
    const int64_t count = std::min({end, tile.column_end, i + kChunk}) - i;
    cpu::unpack_codes(bytes, i, count, parts.bits, codes.data());
    S* const to = out + (i - tile.column_begin);
    if (!tables.empty()) {
      cpu::look_up_codes(codes.data(), count, groups == nullptr ? nullptr : groups + i,
                         tables.data() + (groups == nullptr ? group * kTableSize : 0), to);
    } else if (groups != nullptr) {
      cpu::scale_codes_of_groups<V, S>(codes.data(), count, groups + i, kind, table, scales.data(), to);
    } else {
      cpu::scale_codes<V, S>(codes.data(), count, kind, table, scales[static_cast<size_t>(group)], to);
    }
    i += count;
  }
}

}  // namespace

ScaledCodes::ScaledCodes(ScaledCodesParts parts, const std::string& where) : parts_(std::move(parts)), table_(table_of(parts_.kind)) {
  require_shape(parts_, where);
  require_scales(parts_, where);
  require_groups(parts_, where);
  require_numbers(parts_, where);
  parts_.codes = parts_.codes.contiguous();
  parts_.scales = parts_.scales.contiguous();
  parts_.zeros = parts_.zeros.defined() ? parts_.zeros.contiguous() : parts_.zeros;
  parts_.groups = parts_.groups.defined() ? parts_.groups.contiguous().view({-1}) : parts_.groups;
}

void ScaledCodes::decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const {
  with_elements(value_dtype(), dtype, [&]<typename V, typename S>() {
    std::vector<cpu::Scale> scales;
    std::vector<S> tables;  // of codes with few values
    for (int64_t row = tile.row_begin; row < tile.row_end; ++row) {
      if (row == tile.row_begin || row % parts_.block_rows == 0) {
        read_scales<V>(parts_, row / parts_.block_rows, scales);
        if (parts_.bits <= 4 && parts_.kind != Codes::kSigned) {
          tables.resize(scales.size() * kTableSize);
          cpu::make_scale_tables<V>(kernel_kind(parts_.kind), table_.defined() ? table_.const_data_ptr<float>() : nullptr, scales.data(),
                                    static_cast<int64_t>(scales.size()), tables.data());
        }
      }
      decode_row<V>(parts_, table_, scales, tables, row, tile, static_cast<S*>(out) + (row - tile.row_begin) * stride);
    }
  });
}

ops::GridCodes ScaledCodes::grid_codes() const {
  return {.bits = parts_.bits,
          .is_signed = parts_.kind == Codes::kSigned,
          .block_rows = parts_.block_rows,
          .block_columns = parts_.block_columns,
          .codes = parts_.codes,
          .table = table_,
          .scales = parts_.scales,
          .zeros = parts_.zeros,
          .groups = parts_.groups};
}

Tensor ScaledCodes::decoded(const io::Tile& tile, at::ScalarType dtype) const {
  if (device().is_cpu()) {
    return PackedMatrix::decoded(tile, dtype);
  }
  if (const std::optional<Tensor> values = ops::decoded_on_device(grid_codes(), tile, dtype)) {
    return *values;
  }
  const at::TensorOptions indices = parts_.codes.options().dtype(at::kLong);
  const Tensor rows = at::arange(tile.row_begin, tile.row_end, indices), columns = at::arange(tile.column_begin, tile.column_end, indices);
  const Tensor bit = columns * parts_.bits, byte = bit.bitwise_right_shift(3);
  const Tensor bytes = parts_.codes.slice(0, tile.row_begin, tile.row_end);
  const Tensor next = (byte + 1).clamp_max(bytes.size(1) - 1);
  const Tensor words = bytes.index_select(1, byte).to(at::kInt) + bytes.index_select(1, next).to(at::kInt) * 256;
  Tensor codes = words.bitwise_right_shift(bit.bitwise_and(7).to(at::kInt)).bitwise_and((1 << parts_.bits) - 1);
  codes = parts_.kind == Codes::kSigned ? codes - (codes > 127).to(at::kInt) * 256 : codes;
  Tensor values = (table_.defined() ? table_.index({codes}) : codes).to(value_dtype());
  const Tensor block = rows.floor_divide(parts_.block_rows);
  const Tensor group = parts_.groups.defined() ? parts_.groups.slice(0, tile.column_begin, tile.column_end).to(at::kLong)
                                               : columns.floor_divide(parts_.block_columns);
  const auto of_grid = [&](const Tensor& grid) { return grid.index_select(0, block).index_select(1, group); };
  if (parts_.zeros.defined()) {
    values = values - (parts_.zeros.numel() == 1 ? parts_.zeros.view({1, 1}) : of_grid(parts_.zeros));
  }
  return (values * of_grid(parts_.scales)).to(dtype);
}

std::shared_ptr<const io::PackedMatrix> ScaledCodes::to(at::Device device) const {
  auto copy = std::make_shared<ScaledCodes>(*this);
  for (Tensor* tensor : {&copy->parts_.codes, &copy->parts_.scales, &copy->parts_.zeros, &copy->parts_.groups, &copy->table_}) {
    *tensor = tensor->defined() ? tensor->to(device) : *tensor;
  }
  return copy;
}

std::map<std::string, Tensor> ScaledCodes::tensors() const {
  std::map<std::string, Tensor> tensors{{"codes", parts_.codes}, {"scales", parts_.scales}};
  if (parts_.zeros.defined()) {
    tensors.emplace("zeros", parts_.zeros);
  }
  if (parts_.groups.defined()) {
    tensors.emplace("groups", parts_.groups);
  }
  return tensors;
}

}  // namespace lora::quantization
