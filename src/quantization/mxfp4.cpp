#include "lora/quantization/mxfp4.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/scaled_codes.h"
#include "quantization/grid_scales.h"

namespace lora::quantization {

namespace {

constexpr int64_t kBlockBytes = 16;  ///< of 32 codes

}  // namespace

std::shared_ptr<const io::PackedMatrix> mxfp4_matrix(const at::Tensor& blocks, const at::Tensor& scales, const std::string& where) {
  const bool fits = blocks.scalar_type() == at::kByte && scales.scalar_type() == at::kByte && blocks.dim() == 3 && scales.dim() == 2 &&
                    blocks.size(0) == scales.size(0) && blocks.size(1) == scales.size(1) && blocks.size(2) == kBlockBytes;
  if (!fits) {
    model_error(where, std::string("found ") + c10::toString(blocks.scalar_type()) + " " + io::shape_text(blocks.sizes()) +
                           " with scales " + c10::toString(scales.scalar_type()) + " " + io::shape_text(scales.sizes()) +
                           ", expected bytes [rows, groups, 16] and [rows, groups]");
  }
  if (scales.eq(255).any().item<bool>()) {
    model_error(where, "scales: found 255, which stands for NaN. The file is damaged.");
  }
  ScaledCodesParts matrix;
  matrix.format = "mxfp4";
  matrix.kind = Codes::kE2M1;
  matrix.rows = blocks.size(0);
  matrix.columns = blocks.size(1) * 2 * kBlockBytes;
  matrix.block_columns = 2 * kBlockBytes;
  matrix.codes = blocks.reshape({blocks.size(0), blocks.size(1) * kBlockBytes});
  matrix.scales = powers_of_two(scales).to(at::kBFloat16);
  return std::make_shared<const ScaledCodes>(std::move(matrix), where);
}

}  // namespace lora::quantization
