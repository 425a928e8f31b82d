// GPTQ (Frantar et al. 2022) as AutoGPTQ and gptqmodel write it. I inputs, O outputs, G groups.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/scaled_codes.h"
#include "quantization/blocks.h"
#include "quantization/packed_format.h"

namespace lora::quantization {

namespace {

constexpr std::array<int64_t, 4> kGptqBits{2, 3, 4, 8};

/// What the shapes of a module say.
struct GptqShape {
  int64_t bits;
  int64_t inputs;
  int64_t outputs;
  int64_t groups;
};

class Gptq : public PackedFormat {
 public:
  Gptq(const JsonReader& section, bool adds_one)
      : bits_(section.integer("bits")),
        group_size_(section.integer("group_size", 128)),
        is_symmetric_(section.boolean("sym", false)),
        has_rules_(section.has("dynamic") || section.has("extra_config")),
        adds_one_(adds_one) {
    if (std::find(kGptqBits.begin(), kGptqBits.end(), bits_) == kGptqBits.end()) {
      section.fail("bits", "2, 3, 4 or 8");
    }
    if (group_size_ == 0 || group_size_ < -1) {
      section.fail("group_size", "a positive number, or -1 for one group");
    }
  }

  std::vector<std::string> parts() const override { return {"qweight", "qzeros", "scales", "g_idx"}; }
  std::vector<std::string> marks() const override { return {"qweight"}; }

  PackedFacts facts(const Parts& parts) const override {
    const GptqShape shape = shape_of(parts);
    return {shape.outputs, shape.inputs, name_of(shape.bits), parts.scales("scales").dtype};
  }

  io::StoredWeight read(const Parts& parts) const override {
    const GptqShape shape = shape_of(parts);
    ScaledCodesParts matrix;
    matrix.format = name_of(shape.bits);
    matrix.bits = shape.bits;
    matrix.rows = shape.outputs;
    matrix.columns = shape.inputs;
    // A column of words is the bit stream of one output.
    matrix.codes = as_bytes(parts.tensor("qweight").t());
    parts.release("qweight");
    matrix.scales = parts.tensor("scales").t().contiguous();
    matrix.zeros = zeros_GO(parts, shape).t().to(matrix.scales.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
    matrix.block_columns = group_size_ == -1 ? shape.inputs : std::min(group_size_, shape.inputs);
    if (parts.has("g_idx")) {
      const Tensor groups_I = parts.tensor("g_idx").clone();
      const Tensor in_order_I = at::arange(shape.inputs, at::kInt).floor_divide(matrix.block_columns);
      if (!groups_I.equal(in_order_I)) {
        matrix.groups = groups_I;
      }
    }
    return {{}, std::make_shared<const ScaledCodes>(std::move(matrix), parts.where("qweight"))};
  }

  std::vector<std::string> notes(const Parts& parts) const override {
    const GptqShape shape = shape_of(parts);
    if (adds_one(stored_zeros(parts, shape), shape.bits) == adds_one_) {
      return {};
    }
    return {std::string("its checkpoint_format says that zero points are stored ") + (adds_one_ ? "minus one" : "as they are") +
            ", but the symmetric ones of " + parts.module() + " are not: they are read as " + (adds_one_ ? "gptq_v2" : "gptq")};
  }

 private:
  static std::string name_of(int64_t bits) { return "gptq " + std::to_string(bits) + "-bit"; }

  GptqShape shape_of(const Parts& parts) const {
    const std::vector<int64_t> words = parts.matrix("qweight", at::kInt).shape;
    GptqShape shape{bits_, words[0] * 32 / bits_, words[1], 0};
    if (parts.has("g_idx")) {
      const io::TensorFacts found = parts.facts("g_idx");
      if (found.dtype != at::kInt || found.shape.size() != 1 || found.shape[0] < 1) {
        parts.fail("g_idx", found.stored_as + " " + io::shape_text(found.shape), "int32, one group for each input");
      }
      shape.inputs = found.shape[0];
    }
    // With rules for single modules, config.json's number of bits need not be this module's.
    shape.bits = has_rules_ ? words[0] * 32 / shape.inputs : bits_;
    const bool is_known = std::find(kGptqBits.begin(), kGptqBits.end(), shape.bits) != kGptqBits.end();
    if (!is_known || shape.inputs % 32 != 0 || shape.inputs * shape.bits != words[0] * 32) {
      parts.fail("qweight", io::shape_text(words), "[inputs * bits / 32, outputs] for " + std::to_string(shape.inputs) + " inputs in " +
                                                       std::to_string(bits_) + " bits");
    }
    require_scales(parts, shape);
    return shape;
  }

  void require_scales(const Parts& parts, GptqShape& shape) const {
    const std::vector<int64_t> scales = parts.scales("scales").shape;
    const int64_t size = group_size_ == -1 ? shape.inputs : group_size_, expected = blocks_of(shape.inputs, size);
    if (scales != std::vector<int64_t>{expected, shape.outputs}) {
      parts.fail("scales", io::shape_text(scales), "[groups, outputs], " + io::shape_text({expected, shape.outputs}));
    }
    shape.groups = expected;
    const std::vector<int64_t> zeros = parts.matrix("qzeros", at::kInt).shape;
    if (const int64_t words = blocks_of(shape.outputs * shape.bits, 32); zeros[0] != shape.groups || zeros[1] != words) {
      parts.fail("qzeros", io::shape_text(zeros), "[groups, outputs * bits / 32], " + io::shape_text({shape.groups, words}));
    }
  }

  static Tensor stored_zeros(const Parts& parts, const GptqShape& shape) {
    return unpacked_codes(parts.tensor("qzeros"), shape.outputs, shape.bits);
  }

  /// Whether one must be added. Some tools write the zero points of one version under the name of the other, which symmetric ones show.
  bool adds_one(const Tensor& stored, int64_t bits) const {
    const int64_t middle = int64_t{1} << (bits - 1);
    const bool is_known = is_symmetric_ && stored.eq(adds_one_ ? middle : middle - 1).all().item<bool>();
    return is_known ? !adds_one_ : adds_one_;
  }

  /// Zero points [G, O]. Subtracting one from a whole word borrows from the next field where a zero point is 0; adding to the word undoes
  /// it. Fields of 3 bits do not fill words, and wrap by themselves.
  Tensor zeros_GO(const Parts& parts, const GptqShape& shape) const {
    const Tensor stored = stored_zeros(parts, shape);
    if (!adds_one(stored, shape.bits)) {
      return stored;
    }
    if (shape.bits == 3) {
      return (stored + 1).bitwise_and(7);
    }
    const uint32_t ones = shape.bits == 2 ? 0x55555555U : shape.bits == 4 ? 0x11111111U : 0x01010101U;
    const Tensor words = parts.tensor("qzeros").to(at::kLong) + static_cast<int64_t>(ones);
    return unpacked_codes(words.bitwise_and(0xFFFFFFFFLL).to(at::kUInt32).view(at::kInt), shape.outputs, shape.bits);
  }

  int64_t bits_;
  int64_t group_size_;
  bool is_symmetric_;
  bool has_rules_;
  bool adds_one_;
};

}  // namespace

std::unique_ptr<PackedFormat> make_gptq_of(const JsonReader& section, bool adds_one) {
  return std::make_unique<Gptq>(section, adds_one);
}

std::unique_ptr<PackedFormat> make_gptq(const JsonReader& section) {
  const std::string format = section.string("checkpoint_format", section.string("format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    section.fail("checkpoint_format", "gptq or gptq_v2");
  }
  return make_gptq_of(section, format == "gptq");
}

}  // namespace lora::quantization
