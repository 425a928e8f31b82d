#include "lora/quantization/blockwise4.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "quantization/blocks.h"
#include "quantization/cpu/kernels.h"
#include "quantization/elements.h"

namespace lora::quantization {

namespace {

constexpr std::array<float, 16> kNf4{
    -1.0F, -0.6961928009986877F, -0.5250730514526367F, -0.39491748809814453F, -0.28444138169288635F, -0.18477343022823334F,
    -0.09105003625154495F, 0.0F, 0.07958029955625534F, 0.16093020141124725F, 0.24611230194568634F, 0.33791524171829224F,
    0.44070982933044434F, 0.5626170039176941F, 0.7229568362236023F, 1.0F};
/// In twelfths.
constexpr std::array<float, 16> kFp4{0, 0.0625F, 8, 12, 4, 6, 2, 3, 0, -0.0625F, -8, -12, -4, -6, -2, -3};

/// A part with one dimension. Throws unless it has that dtype and number of elements.
Tensor checked(const Tensor& part, at::ScalarType dtype, int64_t count, const std::string& name, const std::string& where) {
  if (!part.defined() || part.scalar_type() != dtype || part.numel() != count) {
    const std::string found =
        part.defined() ? std::string(c10::toString(part.scalar_type())) + " " + io::shape_text(part.sizes()) : "nothing";
    model_error(where, name + ": found " + found + ", expected " + c10::toString(dtype) + " with " + std::to_string(count) + " elements");
  }
  return part.contiguous().view({count});
}

void require_sizes(const Blockwise4Parts& parts, const std::string& where) {
  if (parts.rows < 1 || parts.columns < 1 || parts.rows > kMostSize || parts.columns > kMostSize) {
    model_error(where, "shape: found [" + std::to_string(parts.rows) + ", " + std::to_string(parts.columns) + "], expected a matrix");
  }
  if (!is_block_size(parts.block_size)) {
    model_error(where, "blocksize: found " + std::to_string(parts.block_size) + ", expected a power of two from 32 to 4096");
  }
  if (!is_value_dtype(parts.value_dtype)) {
    model_error(where, std::string("dtype: found ") + c10::toString(parts.value_dtype) + ", expected float32, bfloat16 or float16");
  }
  if (parts.nested && parts.nested->block_size < 1) {
    model_error(where, "nested_blocksize: found " + std::to_string(parts.nested->block_size) + ", expected a positive number");
  }
}

/// The elements of a matrix, one after the other.
struct Elements {
  const uint8_t* codes;
  const float* codebook;
  int64_t block_size;
};

/// Elements [begin, end) of one block.
template <typename S>
void decode_part(const uint8_t* codes, int64_t begin, int64_t end, const S* table, S* out) {
  if (begin % 2 != 0 && begin < end) {
    *out++ = table[codes[begin / 2] & 15];
    ++begin;
  }
  const int64_t pairs = (end - begin) / 2;
  cpu::look_up_pairs(codes + begin / 2, pairs, table, out);
  if ((end - begin) % 2 != 0) {
    out[2 * pairs] = table[codes[end / 2] >> 4];
  }
}

/// Elements [begin, end), with the scale of each block from the first one on.
template <typename V, typename S>
void decode_elements(const Elements& all, int64_t begin, int64_t end, const float* scales, S* out) {
  const int64_t first = begin / all.block_size, last = blocks_of(end, all.block_size);
  const int64_t whole_first = blocks_of(begin, all.block_size), whole_last = std::max(whole_first, end / all.block_size);
  const auto decode_cut = [&](int64_t block) {
    S table[16];
    cpu::make_tables4<V, S>(all.codebook, scales + (block - first), 1, table);
    const int64_t from = std::max(begin, block * all.block_size), to = std::min(end, (block + 1) * all.block_size);
    decode_part(all.codes, from, to, table, out + (from - begin));
  };
  if (first < whole_first) {
    decode_cut(first);
  }
  cpu::decode_blocks4<V, S>(all.codes + whole_first * all.block_size / 2, whole_last - whole_first, all.block_size / 2, all.codebook,
                            scales + (whole_first - first), out + (whole_first * all.block_size - begin), cpu::best_simd());
  if (whole_last < last) {
    decode_cut(whole_last);
  }
}

}  // namespace

Tensor codebook4(const std::string& format) {
  if (format != "nf4" && format != "fp4") {
    throw std::invalid_argument("a 4-bit format is nf4 or fp4, not " + format);
  }
  return format == "nf4" ? at::tensor(at::ArrayRef<float>(kNf4)) : at::tensor(at::ArrayRef<float>(kFp4)) / 12.0F;
}

Blockwise4::Blockwise4(Blockwise4Parts parts, const std::string& where) : parts_(std::move(parts)) {
  require_sizes(parts_, where);
  const int64_t elements = parts_.rows * parts_.columns, blocks = blocks_of(elements, parts_.block_size);
  if (parts_.codes.defined()) {
    parts_.codes = parts_.codes.contiguous().view({-1}).view(at::kByte);
  }
  parts_.codes = checked(parts_.codes, at::kByte, blocks_of(elements, 2), "codes", where);
  parts_.absmax = checked(parts_.absmax, parts_.nested ? at::kByte : at::kFloat, blocks, "absmax", where);
  parts_.codebook = checked(parts_.codebook, at::kFloat, 16, "quant_map", where);
  if (parts_.nested) {
    NestedScales& nested = *parts_.nested;
    nested.absmax = checked(nested.absmax, at::kFloat, blocks_of(blocks, nested.block_size), "nested_absmax", where);
    nested.map = checked(nested.map, at::kFloat, 256, "nested_quant_map", where);
  }
}

std::string Blockwise4::format() const {
  return parts_.format + (parts_.nested ? "-dq" : "");
}

std::map<std::string, Tensor> Blockwise4::tensors() const {
  std::map<std::string, Tensor> tensors{{"codes", parts_.codes}, {"absmax", parts_.absmax}, {"quant_map", parts_.codebook}};
  if (parts_.nested) {
    tensors.emplace("nested_absmax", parts_.nested->absmax);
    tensors.emplace("nested_quant_map", parts_.nested->map);
    tensors.emplace("nested_offset", at::scalar_tensor(parts_.nested->offset, at::kFloat));
  }
  return tensors;
}

std::shared_ptr<const io::PackedMatrix> Blockwise4::to(at::Device device) const {
  Blockwise4Parts parts = parts_;
  for (Tensor* tensor : {&parts.codes, &parts.absmax, &parts.codebook}) {
    *tensor = tensor->to(device);
  }
  if (parts.nested) {
    parts.nested->absmax = parts.nested->absmax.to(device);
    parts.nested->map = parts.nested->map.to(device);
  }
  return std::make_shared<const Blockwise4>(std::move(parts), parts_.format);
}

std::shared_ptr<const io::PackedMatrix> Blockwise4::in_forward(at::ScalarType dtype) const {
  if (value_dtype() == at::kFloat || value_dtype() == dtype) {
    return nullptr;  // the same values
  }
  auto copy = std::make_shared<Blockwise4>(*this);
  copy->parts_.value_dtype = dtype;
  return copy;
}

const float* Blockwise4::scales(int64_t first, int64_t last, std::vector<float>& buffer) const {
  if (!parts_.nested) {
    return parts_.absmax.const_data_ptr<float>() + first;
  }
  const NestedScales& nested = *parts_.nested;
  buffer.resize(static_cast<size_t>(last - first));
  cpu::expand_scales(parts_.absmax.const_data_ptr<uint8_t>() + first, first, last - first, nested.absmax.const_data_ptr<float>(),
                     nested.block_size, nested.map.const_data_ptr<float>(), nested.offset, buffer.data());
  return buffer.data();
}

void Blockwise4::decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const {
  const Elements all{parts_.codes.const_data_ptr<uint8_t>(), parts_.codebook.const_data_ptr<float>(), parts_.block_size};
  // Rows that follow one another, in W and in `out`, are decoded as one.
  const bool whole = tile.columns() == parts_.columns && stride == parts_.columns;
  const int64_t rows_at_once = whole ? std::max<int64_t>(1, tile.rows()) : 1;
  const auto* const absmax = static_cast<const char*>(parts_.absmax.const_data_ptr());
  const auto absmax_size = static_cast<int64_t>(parts_.absmax.element_size());
  std::vector<float> buffer;
  with_elements(value_dtype(), dtype, [&]<typename V, typename S>() {
    for (int64_t row = tile.row_begin; row < tile.row_end; row += rows_at_once) {
      const int64_t last_row = row + rows_at_once - 1;
      const int64_t begin = row * parts_.columns + tile.column_begin, end = last_row * parts_.columns + tile.column_end;
      const int64_t first = begin / parts_.block_size, last = blocks_of(end, parts_.block_size);
      if (!whole && row + cpu::kRowsAhead < parts_.rows) {
        const int64_t ahead = cpu::kRowsAhead * parts_.columns;
        cpu::fetch(all.codes + (begin + ahead) / 2, tile.columns() / 2);
        cpu::fetch(absmax + (begin + ahead) / parts_.block_size * absmax_size, (last - first) * absmax_size);
      }
      decode_elements<V, S>(all, begin, end, scales(first, last, buffer), static_cast<S*>(out) + (row - tile.row_begin) * stride);
    }
  });
}

void Blockwise4::multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const {
  const int64_t columns = parts_.columns, block_size = parts_.block_size, blocks = parts_.absmax.size(0);
  if (columns % 8 != 0) {
    PackedMatrix::multiply_rows(x_TI, tokens, row_begin, row_end, y, stride);
    return;
  }
  constexpr int64_t kRead = 16;  // scales that the kernel reads after those of a row
  const cpu::Simd simd = cpu::best_simd();
  const int64_t size = cpu::prepared_size(columns);
  std::vector<float> prepared(static_cast<size_t>(tokens * size)), buffer, sums(static_cast<size_t>(tokens));
  for (int64_t t = 0; t < tokens; ++t) {
    cpu::prepare_inputs4(x_TI + t * columns, columns, prepared.data() + t * size);
  }
  for (int64_t row = row_begin; row < row_end; ++row) {
    const int64_t begin = row * columns, first = begin / block_size, last = blocks_of(begin + columns, block_size);
    const float* row_scales = scales(first, last, buffer);
    if (parts_.nested || last + kRead > blocks) {
      if (!parts_.nested) {
        buffer.assign(row_scales, row_scales + (last - first));
      }
      buffer.resize(static_cast<size_t>(last - first + kRead));
      row_scales = buffer.data();
    }
    cpu::multiply_row4({parts_.codes.const_data_ptr<uint8_t>() + begin / 2, columns, parts_.codebook.const_data_ptr<float>(), row_scales,
                        begin % block_size, std::countr_zero(static_cast<uint64_t>(block_size))},
                       prepared.data(), tokens, simd, sums.data());
    for (int64_t t = 0; t < tokens; ++t) {
      y[t * stride + row - row_begin] = sums[static_cast<size_t>(t)];
    }
  }
}

std::optional<io::BlockCodes> Blockwise4::block_codes() const {
  io::BlockCodes codes{.codes = parts_.codes, .table = parts_.codebook, .scales = parts_.absmax, .block_size = parts_.block_size};
  if (parts_.nested) {
    codes.nested_scales = parts_.nested->absmax;
    codes.nested_table = parts_.nested->map;
    codes.nested_block_size = parts_.nested->block_size;
    codes.offset = parts_.nested->offset;
  }
  return codes;
}

Tensor Blockwise4::decoded(const io::Tile& tile, at::ScalarType dtype) const {
  if (device().is_cpu()) {
    return PackedMatrix::decoded(tile, dtype);
  }
  const int64_t begin = tile.row_begin * parts_.columns, end = tile.row_end * parts_.columns, step = parts_.block_size;
  const int64_t first = begin / step, last = blocks_of(end, step);
  Tensor absmax = parts_.absmax.slice(0, first, last);
  if (parts_.nested) {
    const Tensor block = at::arange(first, last, parts_.absmax.options().dtype(at::kLong)).floor_divide(parts_.nested->block_size);
    absmax = parts_.nested->map.index_select(0, absmax.to(at::kInt)) * parts_.nested->absmax.index_select(0, block) + parts_.nested->offset;
  }
  const Tensor bytes = parts_.codes.slice(0, first * step / 2, std::min(last * step / 2, parts_.codes.size(0)));
  Tensor values =
      parts_.codebook.index_select(0, at::stack({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}, 1).flatten().to(at::kInt));
  values = at::constant_pad_nd(values, {0, (last - first) * step - values.size(0)}).view({-1, step}).mul_(absmax.unsqueeze(1));
  return values.flatten().slice(0, begin - first * step, end - first * step).view({tile.rows(), parts_.columns})
      .slice(1, tile.column_begin, tile.column_end).to(value_dtype()).to(dtype).contiguous();
}

}  // namespace lora::quantization
