#include "lora/quantization/quantize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "lora/base/error.h"
#include "lora/ops/parallel.h"
#include "lora/quantization/blockwise4.h"
#include "lora/quantization/dynamic_map.h"
#include "lora/quantization/int8_rows.h"
#include "quantization/blocks.h"
#include "quantization/cpu/kernels.h"
#include "quantization/elements.h"

namespace lora::quantization {

namespace {

constexpr int64_t kNestedBlock = 256;
/// A thread quantises at least this many elements.
constexpr int64_t kElementsPerThread = 32768;

void require_finite(float absmax, const std::string& where) {
  if (!std::isfinite(absmax)) {
    model_error(where, "found a value that is not finite (for int8, after rounding to float16), expected finite weights");
  }
}

/// bitsandbytes' order of the codes of FP4's values: 0 has two, of which the second is that of small positive numbers.
cpu::Codebook4 comparisons(const Tensor& codebook, bool is_fp4) {
  cpu::Codebook4 result{};
  if (is_fp4) {
    result.codes = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3};
  } else {
    std::iota(result.codes.begin(), result.codes.end(), uint8_t{0});
  }
  const auto* values = codebook.const_data_ptr<float>();
  for (size_t i = 0; i < result.midpoints.size(); ++i) {
    result.midpoints[i] = (values[result.codes[i]] + values[result.codes[i + 1]]) / 2.0F;
  }
  return result;
}

/// The code of each of 65536 evenly spaced numbers from -1 to 1, in which bitsandbytes' CPU code looks up the code of the nearest one.
const std::vector<uint8_t>& nearest_codes() {
  static const std::vector<uint8_t> kCodes = [] {
    const QuantizationMap& map = dynamic_map(true);
    std::vector<uint8_t> codes(65536);
    for (size_t i = 0; i < codes.size(); ++i) {
      const float value = -1.0F + 2.0F * static_cast<float>(i) / 65535.0F;
      const auto* midpoint = std::lower_bound(map.midpoints.begin(), map.midpoints.end(), value);
      codes[i] = static_cast<uint8_t>(midpoint - map.midpoints.begin());
    }
    return codes;
  }();
  return kCodes;
}

/// The mean by LibTorch's own sum, as bitsandbytes computes it; on one thread, because the order of its sum depends on their number.
float mean_of(const Tensor& values) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const float result = values.mean().item<float>();
  at::set_num_threads(threads);
  return result;
}

/// Replaces the scales of `parts` by quantised ones.
void quantize_scales(Blockwise4Parts& parts) {
  const int64_t blocks = parts.absmax.size(0);
  NestedScales nested;
  nested.block_size = kNestedBlock;
  nested.offset = mean_of(parts.absmax);
  nested.map = at::tensor(at::ArrayRef<float>(dynamic_map(true).values));
  nested.absmax = at::empty({blocks_of(blocks, kNestedBlock)}, at::kFloat);
  const Tensor centred = parts.absmax - nested.offset, codes = at::empty({blocks}, at::kByte);
  const auto* const from = centred.const_data_ptr<float>();
  const auto* const nearest = nearest_codes().data();
  auto* const absmax = nested.absmax.mutable_data_ptr<float>();
  auto* const to = codes.mutable_data_ptr<uint8_t>();
  ops::parallel_for(0, nested.absmax.size(0), kElementsPerThread / kNestedBlock, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kNestedBlock;
      absmax[block] = cpu::quantize_block8(from + begin, std::min(kNestedBlock, blocks - begin), nearest, to + begin);
    }
  });
  parts.absmax = codes;
  parts.nested = std::move(nested);
}

std::shared_ptr<const io::PackedMatrix> quantize4(const Tensor& W_OI, const QuantizationOptions& options, const std::string& where) {
  const int64_t elements = W_OI.numel(), block_size = options.block_size;
  Blockwise4Parts parts{std::string(kQuantizationTypes.name(options.type)), W_OI.size(0), W_OI.size(1), block_size, W_OI.scalar_type(),
                        at::empty({blocks_of(elements, 2)}, at::kByte), at::empty({blocks_of(elements, block_size)}, at::kFloat), {}};
  parts.codebook = codebook4(parts.format);
  const cpu::Codebook4 codebook = comparisons(parts.codebook, options.type == QuantizationType::kFp4);
  const auto zero = static_cast<uint8_t>(options.type == QuantizationType::kFp4 ? 0 : 7);
  auto* const codes = parts.codes.mutable_data_ptr<uint8_t>();
  auto* const absmax = parts.absmax.mutable_data_ptr<float>();
  with_element(W_OI.scalar_type(), [&]<typename S>() {
    const auto* const values = static_cast<const S*>(W_OI.const_data_ptr());
    ops::parallel_for(0, parts.absmax.size(0), kElementsPerThread / block_size, [&](int64_t first, int64_t last) {
      std::array<float, 4096> wide;
      std::array<uint8_t, 4096> block_codes;
      for (int64_t block = first; block < last; ++block) {
        const int64_t begin = block * block_size, count = std::min(block_size, elements - begin);
        cpu::widen(values + begin, count, wide.data());
        absmax[block] = cpu::quantize_block4(wide.data(), count, count == block_size, codebook, block_codes.data());
        require_finite(absmax[block], where);
        cpu::pack_nibbles(block_codes.data(), count, zero, codes + begin / 2);
      }
    });
  });
  if (options.double_quant) {
    quantize_scales(parts);
  }
  return std::make_shared<const Blockwise4>(std::move(parts), where);
}

std::shared_ptr<const io::PackedMatrix> quantize8(const Tensor& W_OI, const std::string& where) {
  const int64_t outputs = W_OI.size(0), inputs = W_OI.size(1);
  const Tensor codes = at::empty({outputs, inputs}, at::kChar), scales = at::empty({outputs}, at::kFloat);
  auto* const to = codes.mutable_data_ptr<int8_t>();
  auto* const absmax = scales.mutable_data_ptr<float>();
  ops::parallel_for(0, outputs, std::max<int64_t>(1, kElementsPerThread / inputs), [&](int64_t first, int64_t last) {
    std::vector<float> row(static_cast<size_t>(inputs));
    for (int64_t o = first; o < last; ++o) {
      const Tensor half = W_OI.select(0, o).to(at::kHalf);  // bitsandbytes' first step
      cpu::widen(static_cast<const Half*>(half.const_data_ptr()), inputs, row.data());
      absmax[o] = cpu::quantize_row8(row.data(), inputs, to + o * inputs);
      require_finite(absmax[o], where);
    }
  });
  return std::make_shared<const Int8Rows>(codes, scales, W_OI.scalar_type(), where);
}

}  // namespace

std::shared_ptr<const io::PackedMatrix> quantize(const Tensor& W_OI, const QuantizationOptions& options, const std::string& where) {
  if (W_OI.dim() != 2 || !is_value_dtype(W_OI.scalar_type()) || !W_OI.is_cpu()) {
    throw std::invalid_argument("quantize: a matrix in float32, bfloat16 or float16 on the CPU is expected");
  }
  if (W_OI.numel() == 0) {
    model_error(where, "found a matrix without elements, expected a weight");
  }
  if (options.type == QuantizationType::kInt8) {
    return quantize8(W_OI.contiguous(), where);
  }
  if (!is_block_size(options.block_size)) {
    throw std::invalid_argument("quantize: block_size is a power of two from 32 to 4096, not " + std::to_string(options.block_size));
  }
  return quantize4(W_OI.contiguous(), options, where);
}

}  // namespace lora::quantization
