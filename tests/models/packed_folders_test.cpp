// Folders of packed weights load and give the logits of a transformers model with the values that the packing tool decodes.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/models/open_checkpoint.h"
#include "logits_of.h"
#include "support/packed_folders.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

/// The rotary frequencies of the reference of `actorder` are rounded to bfloat16.
double tolerance_of(const std::string& name) {
  return name.ends_with("actorder") ? 2e-3 : 1e-5;
}

class PackedModels : public testing::TestWithParam<const char*> {};

TEST_P(PackedModels, GiveTheReferencesLogits) {
  ModelOptions options;
  options.path = test::quantized_folder(GetParam());
  options.device = "cpu";
  options.dtype = ComputeDtype::kFloat32;
  const BaseModel base = load_base_model(options, 0);
  const io::SafetensorsFile expected(options.path / "expected.safetensors");
  const at::Tensor logits_TV = logits_of(base, expected.tensor("input_ids"));
  const at::Tensor expected_TV = expected.tensor("logits");
  test::expect_close(logits_TV, expected_TV, tolerance_of(GetParam()), GetParam());
  EXPECT_FALSE(base.config.contains("quantization_config"));
  EXPECT_EQ(base.fingerprint, io::SafetensorsCheckpoint(options.path).fingerprint());
}

INSTANTIATE_TEST_SUITE_P(All, PackedModels, testing::ValuesIn(test::kPackedFolders), test::folder_test_name);

}  // namespace
}  // namespace lora::models
