// What bitsandbytes' layers save: Linear4bit (NF4, FP4) and Linear8bitLt (LLM.int8()).
#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/blockwise4.h"
#include "lora/quantization/int8_rows.h"
#include "quantization/packed_format.h"

namespace lora::quantization {

namespace {

constexpr const char* kNf4State = "weight.quant_state.bitsandbytes__nf4";
constexpr const char* kFp4State = "weight.quant_state.bitsandbytes__fp4";
constexpr int64_t kLongestState = 4096;  ///< bytes of the JSON; bitsandbytes' are below 300

std::string state_part(const Parts& parts) {
  return parts.has(kNf4State) ? kNf4State : kFp4State;
}

at::ScalarType dtype_of(const JsonReader& state) {
  const std::string name = state.string("dtype");
  if (name != "float32" && name != "bfloat16" && name != "float16") {
    state.fail("dtype", "float32, bfloat16 or float16");
  }
  return name == "float32" ? at::kFloat : name == "bfloat16" ? at::kBFloat16 : at::kHalf;
}

/// What quant_state says, without the tensors.
Blockwise4Parts read_state(const Parts& parts) {
  const std::string part = state_part(parts);
  const io::TensorFacts facts = parts.facts(part);
  if (facts.dtype != at::kByte || facts.bytes < 2 || facts.bytes > kLongestState) {
    parts.fail(part, facts.stored_as + " " + io::shape_text(facts.shape), "the bytes of a JSON object");
  }
  const Tensor bytes = parts.tensor(part).contiguous();
  const std::string text(static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(facts.bytes));
  const Json json = parse_json(text, parts.where(part), ErrorKind::kModel);
  const JsonReader state(json, parts.where(part), ErrorKind::kModel);
  const std::string format = part == kNf4State ? "nf4" : "fp4";
  if (state.string("quant_type") != format) {
    state.fail("quant_type", "\"" + format + "\", as in the tensor's name");
  }
  const Json& shape = state.at("shape");
  if (!shape.is_array() || shape.size() != 2 || !shape[0].is_number_integer() || !shape[1].is_number_integer()) {
    state.fail("shape", "[out_features, in_features]");
  }
  Blockwise4Parts matrix;
  matrix.format = format;
  matrix.rows = shape[0].get<int64_t>();
  matrix.columns = shape[1].get<int64_t>();
  matrix.block_size = state.integer("blocksize");
  matrix.value_dtype = dtype_of(state);
  if (state.has("nested_offset")) {
    if (std::abs(state.number("nested_offset")) > std::numeric_limits<float>::max()) {
      state.fail("nested_offset", "a number that float32 can hold");
    }
    matrix.nested = NestedScales{{}, {}, static_cast<float>(state.number("nested_offset")), state.integer("nested_blocksize")};
  }
  return matrix;
}

/// A floating-point part; throws if it has a value that is not finite.
Tensor finite(const Parts& parts, const std::string& part) {
  Tensor tensor = parts.tensor(part);
  if (tensor.is_floating_point() && !at::isfinite(tensor).all().item<bool>()) {
    parts.fail(part, "a value that is not finite (NaN or infinity)", "finite numbers");
  }
  return tensor;
}

/// The values of the codes. bitsandbytes knows them by the name of the type and does not use those in the file.
Tensor codebook_of(const Parts& parts, const std::string& format) {
  const Tensor known = codebook4(format), stored = parts.tensor("weight.quant_map");
  if (stored.scalar_type() != at::kFloat || stored.numel() != known.numel() || !stored.flatten().allclose(known, 0, 1e-6)) {
    parts.fail("weight.quant_map", "other numbers", "the 16 values of " + format + " in float32");
  }
  return known;
}

PackedFacts facts4(const Parts& parts) {
  const Blockwise4Parts matrix = read_state(parts);
  return {matrix.rows, matrix.columns, matrix.format + (matrix.nested ? "-dq" : ""), matrix.value_dtype};
}

io::StoredWeight read4(const Parts& parts) {
  Blockwise4Parts matrix = read_state(parts);
  matrix.codes = parts.tensor("weight");
  matrix.absmax = finite(parts, "weight.absmax");
  matrix.codebook = codebook_of(parts, matrix.format);
  if (matrix.nested) {
    matrix.nested->absmax = finite(parts, "weight.nested_absmax");
    matrix.nested->map = finite(parts, "weight.nested_quant_map");
  } else if (parts.has("weight.nested_absmax")) {
    parts.fail(state_part(parts), "no nested_offset", "one, because weight.nested_absmax is there");
  }
  return {{}, std::make_shared<const Blockwise4>(std::move(matrix), parts.where())};
}

PackedFacts facts8(const Parts& parts) {
  const io::TensorFacts codes = parts.matrix("weight", at::kChar);
  if (parts.has("weight_format") && parts.number("weight_format") != 0) {
    parts.fail("weight_format", std::to_string(parts.number("weight_format")), "0, rows");
  }
  return {codes.shape[0], codes.shape[1], "int8", at::kFloat};
}

/// Both kinds of layer, since bitsandbytes' file says which one a module is.
class BitsAndBytes : public PackedFormat {
 public:
  std::vector<std::string> parts() const override {
    return {"weight",   "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map", kNf4State,
            kFp4State, "SCB",           "weight_format"};
  }
  std::vector<std::string> marks() const override { return {kNf4State, kFp4State, "SCB"}; }
  PackedFacts facts(const Parts& parts) const override { return parts.has("SCB") ? facts8(parts) : facts4(parts); }
  io::StoredWeight read(const Parts& parts) const override {
    if (!parts.has("SCB")) {
      return read4(parts);
    }
    facts8(parts);
    return {{}, std::make_shared<const Int8Rows>(parts.tensor("weight"), finite(parts, "SCB"), at::kFloat, parts.where())};
  }
};

}  // namespace

std::unique_ptr<PackedFormat> make_bitsandbytes(const JsonReader&) {
  return std::make_unique<BitsAndBytes>();
}

}  // namespace lora::quantization
