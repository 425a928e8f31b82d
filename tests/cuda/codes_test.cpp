#include "cuda/machines.h"
#include "lora/quantization/quantize.h"

namespace lora::ops {
namespace {

using quantization::QuantizationOptions;
using quantization::QuantizationType;
using test::expect_close;
using test::expect_equal;
using test::kKernelTypes;
using test::machine_name;
using test::normal;

class PackedCodes : public test::OnMachines {};
LORA_ON_MACHINES(PackedCodes);

struct CodesCase {
  int64_t rows, columns;
  QuantizationOptions options;
};

const std::vector<CodesCase> kCodesCases{{5, 64, {}},
                                         {3, 576, {QuantizationType::kNf4, true, 128}},
                                         {4, 33, {QuantizationType::kNf4, true, 64}},
                                         {2, 100, {QuantizationType::kFp4, false, 32}},
                                         {1, 1, {}},
                                         {6, 40, {QuantizationType::kInt8}},
                                         {3, 7, {QuantizationType::kInt8}}};

TEST_P(PackedCodes, AreDecodedToTheBitsOfTheCpu) {
  for (const CodesCase& c : kCodesCases) {
    for (const at::ScalarType value : kKernelTypes) {
      const auto matrix = quantization::quantize(normal({c.rows, c.columns}, 1, value), c.options);
      const io::BlockCodes codes = *matrix->to(there(at::zeros({1})).device())->block_codes();
      for (const at::ScalarType dtype : kKernelTypes) {
        for (const io::Tile& tile : {io::Tile{0, c.rows, 0, c.columns}, {c.rows / 2, c.rows, c.columns / 2, c.columns}}) {
          expect_equal(decode_cuda(kernels(), codes, c.columns, tile, value, dtype).cpu(), matrix->decoded(tile, dtype), matrix->format());
        }
      }
    }
  }
}

TEST_P(PackedCodes, AreMultipliedAsTheirValuesAre) {
  for (const CodesCase& c : kCodesCases) {
    const auto matrix = quantization::quantize(normal({c.rows, c.columns}, 1, at::kFloat), c.options);
    const io::BlockCodes codes = *matrix->to(there(at::zeros({1})).device())->block_codes();
    const Tensor W = io::decoded(*matrix, at::kFloat).to(at::kDouble);
    for (const at::ScalarType dtype : kKernelTypes) {
      for (int64_t tokens = 0; tokens <= kMostCodedTokens; ++tokens) {
        const Tensor x = normal({tokens, c.columns}, 2, dtype);
        const Tensor y = multiply_codes_cuda(kernels(), codes, c.rows, there(x)).cpu();
        EXPECT_EQ(y.scalar_type(), dtype);
        expect_close(y, x.to(at::kDouble).mm(W.t()), (dtype == at::kFloat ? 8 : 1) * test::spacing(dtype), matrix->format());
      }
    }
  }
}

}  // namespace
}  // namespace lora::ops
