// AWQ (Lin et al. 2023) as AutoAWQ's "gemm" version stores it. I inputs, O outputs, G groups.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/scaled_codes.h"
#include "quantization/blocks.h"
#include "quantization/packed_format.h"

namespace lora::quantization {

namespace {

constexpr int64_t kCodes = 8;                                         ///< 4-bit codes in a word
constexpr std::array<int64_t, kCodes> kNibbles{0, 4, 1, 5, 2, 6, 3, 7};  ///< where a word has the code of each of its outputs

uint8_t code_of(uint32_t word, int64_t output) {
  return static_cast<uint8_t>((word >> (4 * kNibbles[static_cast<size_t>(output)])) & 15);
}

/// Codes [O, I / 2 bytes] from words [I, O / 8]: two inputs to a byte, the first in the low half.
Tensor rows_of_outputs(const Tensor& words_IW) {
  const int64_t inputs = words_IW.size(0), width = words_IW.size(1), row_bytes = (inputs + 1) / 2;
  const Tensor words = words_IW.contiguous();
  const auto* from = words.const_data_ptr<int32_t>();
  Tensor bytes = at::empty({width * kCodes, row_bytes}, at::kByte);
  auto* to = bytes.mutable_data_ptr<uint8_t>();
  constexpr int64_t kBlock = 16;  // words of a cache line
  for (int64_t begin = 0; begin < width; begin += kBlock) {
    for (int64_t i = 0; i < inputs; i += 2) {
      for (int64_t w = begin; w < std::min(begin + kBlock, width); ++w) {
        const auto first = static_cast<uint32_t>(from[i * width + w]);
        const uint32_t second = i + 1 < inputs ? static_cast<uint32_t>(from[(i + 1) * width + w]) : 0;
        for (int64_t c = 0; c < kCodes; ++c) {
          to[(w * kCodes + c) * row_bytes + i / 2] = static_cast<uint8_t>(code_of(first, c) | (code_of(second, c) << 4));
        }
      }
    }
  }
  return bytes;
}

Tensor zeros_OG(const Tensor& words_GW) {
  return unpacked_codes(rows_of_outputs(words_GW), words_GW.size(0), 4);
}

class Awq : public PackedFormat {
 public:
  explicit Awq(int64_t group_size) : group_size_(group_size) {}

  std::vector<std::string> parts() const override { return {"qweight", "qzeros", "scales"}; }
  std::vector<std::string> marks() const override { return {"qweight"}; }

  PackedFacts facts(const Parts& parts) const override {
    const std::vector<int64_t> words = parts.matrix("qweight", at::kInt).shape;
    const int64_t inputs = words[0], outputs = words[1] * kCodes, size = group_size_ == -1 ? inputs : group_size_;
    const int64_t groups = blocks_of(inputs, size);
    if (const io::TensorFacts scales = parts.scales("scales"); scales.shape != std::vector<int64_t>{groups, outputs}) {
      parts.fail("scales", io::shape_text(scales.shape), "[groups, outputs], " + io::shape_text({groups, outputs}));
    }
    if (const io::TensorFacts zeros = parts.matrix("qzeros", at::kInt); zeros.shape != std::vector<int64_t>{groups, words[1]}) {
      parts.fail("qzeros", io::shape_text(zeros.shape), "[groups, outputs / 8], " + io::shape_text({groups, words[1]}));
    }
    return {outputs, inputs, "awq 4-bit", parts.scales("scales").dtype};
  }

  io::StoredWeight read(const Parts& parts) const override {
    const PackedFacts known = facts(parts);
    ScaledCodesParts matrix;
    matrix.format = known.format;
    matrix.rows = known.rows;
    matrix.columns = known.columns;
    matrix.block_columns = group_size_ == -1 ? known.columns : group_size_;
    matrix.codes = rows_of_outputs(parts.tensor("qweight"));
    parts.release("qweight");
    matrix.scales = parts.tensor("scales").t().contiguous();
    matrix.zeros = zeros_OG(parts.tensor("qzeros")).to(known.dtype);
    return {{}, std::make_shared<const ScaledCodes>(std::move(matrix), parts.where("qweight"))};
  }

 private:
  int64_t group_size_;
};

}  // namespace

std::unique_ptr<PackedFormat> make_awq(const JsonReader& section) {
  const char* const key = section.has("version") ? "version" : "format";
  std::string version = section.string(key, "gemm");
  std::transform(version.begin(), version.end(), version.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (version != "gemm") {
    section.fail(key, "gemm, the only way of packing AWQ's weights that is read");
  }
  if (section.integer("bits", section.integer("w_bit", 4)) != 4) {
    section.fail("bits", "4");
  }
  const int64_t group_size = section.integer("group_size", section.integer("q_group_size", 128));
  if (group_size == 0 || group_size < -1) {
    section.fail("group_size", "a positive number, or -1 for one group");
  }
  return std::make_unique<Awq>(group_size);
}

}  // namespace lora::quantization
