// compressed-tensors (llm-compressor): config_groups say which modules have which kind of codes.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "quantization/blocks.h"
#include "quantization/grid_scales.h"

namespace lora::quantization {

namespace {

constexpr std::array<std::string_view, 5> kReadFormats{"pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "dense"};

/// One of config_groups: how the weights of some modules are quantised.
struct WeightScheme {
  std::vector<std::string> targets;  ///< classes of modules, names, or "re:" and a pattern
  int64_t bits = 8;
  bool is_float = false;
  bool is_symmetric = true;
  BlockSize blocks;
};

bool is_read(const std::string& format) {
  return std::find(kReadFormats.begin(), kReadFormats.end(), format) != kReadFormats.end();
}

BlockSize block_size_of(const JsonReader& weights) {
  if (weights.has("block_structure")) {
    const Json& size = weights.at("block_structure");
    if (!size.is_array() || size.size() != 2 || !size[0].is_number_integer() || !size[1].is_number_integer()) {
      weights.fail("block_structure", "two integers");
    }
    return {size[0].get<int64_t>(), size[1].get<int64_t>()};
  }
  return {1, std::max<int64_t>(weights.integer("group_size", 0), 0)};
}

WeightScheme read_scheme(const JsonReader& group) {
  WeightScheme scheme;
  const JsonReader weights = group.object("weights");
  scheme.bits = weights.integer("num_bits");
  scheme.is_float = weights.string("type", "int") == "float";
  scheme.is_symmetric = weights.boolean("symmetric", true);
  scheme.blocks = block_size_of(weights);
  if (scheme.bits < 1 || scheme.bits > 8 || (scheme.is_float && scheme.bits != 8)) {
    weights.fail("num_bits", scheme.is_float ? "8" : "1 to 8");
  }
  if (const Json& targets = group.at("targets"); targets.is_array()) {
    for (const Json& target : targets) {
      if (!target.is_string()) {
        group.fail("targets", "a list of strings");
      }
      scheme.targets.push_back(target.get<std::string>());
    }
  } else {
    group.fail("targets", "a list of strings");
  }
  return scheme;
}

/// Python's rules of compressed-tensors: names and patterns before classes; every packed module here is a Linear.
bool is_target(const std::string& target, const std::string& module) {
  if (target.starts_with("re:")) {
    // re.match: from the start, to anywhere.
    return Regex("(?:" + target.substr(3) + ").*", "quantization_config.config_groups", ErrorKind::kModel).matches_whole(module);
  }
  return target == module || module.ends_with("." + target);
}

class CompressedTensors : public PackedFormat {
 public:
  explicit CompressedTensors(std::vector<WeightScheme> schemes) : schemes_(std::move(schemes)) {}

  std::vector<std::string> parts() const override {
    return {"weight",       "weight_packed", "weight_scale",     "weight_zero_point", "weight_shape",      "weight_g_idx",
            "input_scale",  "input_zero_point", "input_global_scale", "output_scale", "output_zero_point"};
  }
  std::vector<std::string> marks() const override { return {"weight_packed", "weight_scale"}; }

  PackedFacts facts(const Parts& parts) const override {
    const ScaledCodesParts matrix = described(parts);
    return {matrix.rows, matrix.columns, matrix.format, parts.scales("weight_scale").dtype};
  }

  io::StoredWeight read(const Parts& parts) const override {
    ScaledCodesParts matrix = described(parts);
    const bool is_stream = parts.has("weight_packed");
    const std::string codes = is_stream ? "weight_packed" : "weight";
    matrix.codes = as_bytes(parts.tensor(codes));
    const Tensor scales = parts.tensor("weight_scale");
    matrix.scales = scales.reshape(set_blocks(parts, "weight_scale", scales.sizes().vec(), scheme_of(parts).blocks, matrix));
    if (const Tensor zeros = zeros_of(parts, matrix); zeros.defined()) {
      matrix.zeros = zeros.to(matrix.scales.scalar_type());
    }
    matrix.groups = groups_of(parts);
    return {{}, std::make_shared<const ScaledCodes>(std::move(matrix), parts.where(codes))};
  }

  std::vector<std::string> notes(const Parts& parts) const override {
    if (!parts.has("input_scale")) {
      return {};
    }
    return {"it also quantises activations, for example those of " + parts.module() +
            ": their scales are not used, because only weights are packed here"};
  }

 private:
  const WeightScheme& scheme_of(const Parts& parts) const {
    for (const WeightScheme& scheme : schemes_) {
      if (std::any_of(scheme.targets.begin(), scheme.targets.end(),
                      [&](const auto& target) { return is_target(target, parts.module()); })) {
        return scheme;
      }
    }
    for (const WeightScheme& scheme : schemes_) {
      if (std::find(scheme.targets.begin(), scheme.targets.end(), "Linear") != scheme.targets.end()) {
        return scheme;
      }
    }
    model_error(parts.where(), "is quantised, but no targets of quantization_config.config_groups name its module");
  }

  /// Everything but the tensors.
  ScaledCodesParts described(const Parts& parts) const {
    const WeightScheme& scheme = scheme_of(parts);
    ScaledCodesParts matrix;
    if (parts.has("weight_packed")) {
      if (scheme.is_float) {
        parts.fail("weight_packed", "packed numbers of the type float", "integers, or F8_E4M3 in the tensor weight");
      }
      describe_stream(parts, scheme, matrix);
    } else {
      const io::TensorFacts codes = parts.matrix("weight", scheme.is_float ? at::kFloat8_e4m3fn : at::kChar);
      matrix.kind = scheme.is_float ? Codes::kE4M3 : Codes::kSigned;
      matrix.bits = 8;
      matrix.rows = codes.shape[0];
      matrix.columns = codes.shape[1];
    }
    matrix.format = (scheme.is_float ? "fp" : "int") + std::to_string(scheme.bits);
    set_blocks(parts, "weight_scale", parts.scales("weight_scale").shape, scheme.blocks, matrix);
    return matrix;
  }

  static void describe_stream(const Parts& parts, const WeightScheme& scheme, ScaledCodesParts& matrix) {
    const std::vector<int64_t> words = parts.matrix("weight_packed", at::kInt).shape;
    const Tensor shape = parts.tensor("weight_shape");
    if (shape.numel() != 2 || shape.is_floating_point()) {
      parts.fail("weight_shape", io::shape_text(shape.sizes()), "two integers");
    }
    const Tensor sizes = shape.to(at::kLong).view({-1});
    matrix.bits = scheme.bits;
    matrix.rows = sizes[0].item<int64_t>();
    matrix.columns = sizes[1].item<int64_t>();
    const bool is_small = matrix.columns > 0 && matrix.columns <= words[1] * 32;
    if (matrix.rows != words[0] || !is_small || blocks_of(matrix.columns * scheme.bits, 32) != words[1]) {
      parts.fail("weight_shape", io::shape_text({matrix.rows, matrix.columns}),
                 "a shape whose " + std::to_string(scheme.bits) + "-bit codes fill " + io::shape_text(words) + " words");
    }
  }

  /// Codes of a stream are raised by half their range, and so are packed zero points: together they need no correction.
  Tensor zeros_of(const Parts& parts, const ScaledCodesParts& matrix) const {
    const bool is_stream = matrix.kind == Codes::kUnsigned;
    if (!parts.has("weight_zero_point")) {
      if (!scheme_of(parts).is_symmetric && matrix.kind != Codes::kE4M3) {
        parts.tensor("weight_zero_point");  // throws that it is missing
      }
      return is_stream ? at::full({1}, static_cast<double>(1 << (matrix.bits - 1)), at::kFloat) : Tensor();
    }
    const Tensor stored = parts.tensor("weight_zero_point");
    const int64_t groups = matrix.scales.size(1);
    if (is_stream && stored.scalar_type() == at::kInt && stored.dim() == 2) {
      const int64_t words = blocks_of(matrix.rows * matrix.bits, 32);
      if (matrix.scales.size(0) != matrix.rows || stored.size(0) != words || stored.size(1) != groups) {
        parts.fail("weight_zero_point", io::shape_text(stored.sizes()), io::shape_text({words, groups}) + ", the words of the columns");
      }
      return unpacked_codes(stored.t(), matrix.rows, matrix.bits).t();
    }
    if (stored.scalar_type() != at::kChar || stored.numel() != matrix.scales.numel()) {
      parts.fail("weight_zero_point", io::shape_text(stored.sizes()), "one int8 for each scale, " + io::shape_text(matrix.scales.sizes()));
    }
    const Tensor zeros = stored.to(at::kFloat).reshape(matrix.scales.sizes());
    return is_stream ? zeros + static_cast<double>(1 << (matrix.bits - 1)) : zeros;
  }

  /// The group of each column, where columns were reordered by their activations; undefined: in order.
  static Tensor groups_of(const Parts& parts) {
    if (!parts.has("weight_g_idx")) {
      return {};
    }
    const Tensor groups = parts.tensor("weight_g_idx").to(at::kInt);
    return groups.eq(-1).all().item<bool>() ? Tensor() : groups.clone();
  }

  std::vector<WeightScheme> schemes_;
};

}  // namespace

std::unique_ptr<PackedFormat> make_compressed_tensors(const JsonReader& section) {
  const std::string format = section.string("format", "dense");
  if (!is_read(format) && format != "mixed-precision") {
    section.fail("format", join({kReadFormats.begin(), kReadFormats.end()}));
  }
  const JsonReader groups = section.object("config_groups");
  std::vector<WeightScheme> schemes;
  for (const auto& [name, group] : section.at("config_groups").items()) {
    const JsonReader reader = groups.object(name);
    if (!is_read(reader.string("format", is_read(format) ? format : "dense"))) {
      reader.fail("format", join({kReadFormats.begin(), kReadFormats.end()}));
    }
    if (reader.has("weights")) {
      schemes.push_back(read_scheme(reader));
    }
  }
  return std::make_unique<CompressedTensors>(std::move(schemes));
}

}  // namespace lora::quantization
