#include "lora/quantization/bitsandbytes_writer.h"

#include <ATen/ATen.h>

#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "lora/io/dtype_name.h"
#include "lora/quantization/blockwise4.h"
#include "lora/quantization/int8_rows.h"

namespace lora::quantization {

namespace {

/// A finite number as Python's repr writes it: the fewest digits that identify it, and an exponent only if it is small or large.
std::string python_number(double value) {
  const double size = std::abs(value);
  const bool is_plain = size == 0 || (size >= 1e-4 && size < 1e16);
  std::array<char, 64> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value,
                                 is_plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(digits.data(), end.ptr);
  return is_plain && text.find('.') == std::string::npos ? text + ".0" : text;
}

/// The bytes of Python's json.dumps of bitsandbytes' QuantState.
std::string state_text(const Blockwise4Parts& parts) {
  std::string text = "{\"quant_type\": \"" + parts.format + "\", \"blocksize\": " + std::to_string(parts.block_size) + ", \"dtype\": \"" +
                     io::dtype_name(parts.value_dtype) + "\", \"shape\": [" + std::to_string(parts.rows) + ", " +
                     std::to_string(parts.columns) + "]";
  if (parts.nested) {
    text += ", \"nested_blocksize\": " + std::to_string(parts.nested->block_size) +
            ", \"nested_dtype\": \"float32\", \"nested_offset\": " + python_number(parts.nested->offset);
  }
  return text + "}";
}

Tensor byte_tensor(const std::string& text) {
  return at::tensor(at::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(text.data()), text.size()), at::kByte);
}

std::vector<io::NamedTensor> tensors4(const Blockwise4Parts& parts, const std::string& weight) {
  std::vector<io::NamedTensor> tensors{{weight, parts.codes.view({-1, 1})}, {weight + ".absmax", parts.absmax}};
  if (parts.nested) {
    tensors.push_back({weight + ".nested_absmax", parts.nested->absmax});
    tensors.push_back({weight + ".nested_quant_map", parts.nested->map});
  }
  tensors.push_back({weight + ".quant_map", parts.codebook});
  tensors.push_back({weight + ".quant_state.bitsandbytes__" + parts.format, byte_tensor(state_text(parts))});
  return tensors;
}

/// `weight_format` 0 is "row", the only one that bitsandbytes still has.
std::vector<io::NamedTensor> tensors8(const Int8Rows& rows, const std::string& module) {
  const std::map<std::string, Tensor> tensors = rows.tensors();
  return {{module + ".weight", tensors.at("codes")},
          {module + ".SCB", tensors.at("scales")},
          {module + ".weight_format", at::scalar_tensor(0, at::kByte)}};
}

}  // namespace

std::optional<QuantizationOptions> bitsandbytes_options(const io::PackedMatrix& matrix) {
  if (const auto* const blockwise = dynamic_cast<const Blockwise4*>(&matrix)) {
    const Blockwise4Parts& parts = blockwise->parts();
    return QuantizationOptions{kQuantizationTypes.find(parts.format).value(), parts.nested.has_value(), parts.block_size};
  }
  if (dynamic_cast<const Int8Rows*>(&matrix) != nullptr) {
    return QuantizationOptions{.type = QuantizationType::kInt8};
  }
  return std::nullopt;
}

std::vector<io::NamedTensor> bitsandbytes_tensors(const io::PackedMatrix& matrix, const std::string& module) {
  if (const auto* const blockwise = dynamic_cast<const Blockwise4*>(&matrix)) {
    return tensors4(blockwise->parts(), module + ".weight");
  }
  if (const auto* const rows = dynamic_cast<const Int8Rows*>(&matrix)) {
    return tensors8(*rows, module);
  }
  throw std::invalid_argument("bitsandbytes_tensors: a matrix in one of bitsandbytes' formats is expected, not " + matrix.format());
}

std::vector<io::TensorStream> bitsandbytes_streams(const io::PackedMatrix& matrix, const std::string& module,
                                                   std::function<std::shared_ptr<const io::PackedMatrix>()> again) {
  const std::vector<io::NamedTensor> tensors = bitsandbytes_tensors(matrix, module);
  const auto produce_codes = [module, again = std::move(again)](const auto& append) {
    append(bitsandbytes_tensors(*again(), module).front().tensor);
  };
  std::vector<io::TensorStream> streams;
  for (const auto& [name, tensor] : tensors) {
    streams.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), [kept = tensor](const auto& append) { append(kept); }});
  }
  // The codes must not be kept.
  streams.front().produce = produce_codes;
  return streams;
}

Json bitsandbytes_config(const QuantizationOptions& options, at::ScalarType compute_dtype, const std::vector<std::string>& plain_modules) {
  const bool is_int8 = options.type == QuantizationType::kInt8;
  return {{"_load_in_4bit", !is_int8},
          {"_load_in_8bit", is_int8},
          {"bnb_4bit_compute_dtype", io::dtype_name(compute_dtype)},
          {"bnb_4bit_quant_storage", "uint8"},
          {"bnb_4bit_quant_type", is_int8 ? "fp4" : std::string(kQuantizationTypes.name(options.type))},  // transformers' default is fp4
          {"bnb_4bit_use_double_quant", options.double_quant},
          {"llm_int8_enable_fp32_cpu_offload", false},
          {"llm_int8_has_fp16_weight", false},
          {"llm_int8_skip_modules", plain_modules},
          {"llm_int8_threshold", 6.0},
          {"load_in_4bit", !is_int8},
          {"load_in_8bit", is_int8},
          {"quant_method", "bitsandbytes"}};
}

}  // namespace lora::quantization
