#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <limits>
#include <set>

#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/models/packed_modules.h"
#include "lora/nn/packed_weights.h"
#include "lora/quantization/quantizing_source.h"
#include "logits_of.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/map_source.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using test::expect_error;

fs::path data_folder() {
  return test::data_folder();
}

ModelOptions quantized_options(const fs::path& folder, QuantizationKind type, ComputeDtype dtype = ComputeDtype::kFloat32) {
  ModelOptions options;
  options.path = folder;
  options.device = "cpu";
  options.dtype = dtype;
  options.quantization.emplace().type = type;
  return options;
}

/// The options of a case that bitsandbytes saved.
ModelOptions quantized_options(const Json& saved) {
  const Json& given = saved["quantization"];
  ModelOptions options =
      quantized_options(data_folder() / saved["base"].get<std::string>(), *kQuantizationKinds.find(given["type"].get<std::string>()),
                        *kComputeDtypes.find(saved["dtype"].get<std::string>()));
  options.quantization->double_quant = given.value("double_quant", false);
  options.quantization->skip_modules = given.value("skip_modules", std::vector<std::string>());
  return options;
}

at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.contiguous().flatten().view(at::kByte);
}

/// The parts of a packed matrix with the endings of bitsandbytes' names.
std::map<std::string, at::Tensor> stored_parts(const io::PackedMatrix& matrix) {
  const std::map<std::string, at::Tensor> own = matrix.tensors();
  if (matrix.format() == "int8") {
    return {{"", own.at("codes")}, {"SCB", own.at("scales")}};
  }
  std::map<std::string, at::Tensor> parts{{"", own.at("codes")}, {".absmax", own.at("absmax")}, {".quant_map", own.at("quant_map")}};
  if (own.count("nested_absmax") > 0) {
    parts.insert({{".nested_absmax", own.at("nested_absmax")}, {".nested_quant_map", own.at("nested_quant_map")}});
  }
  return parts;
}

/// Remembers the tensors whose pages were dropped.
class ReleasedNames : public test::MapSource {
 public:
  using MapSource::MapSource;
  void release(const std::string& name) const override { names.insert(name); }
  mutable std::set<std::string> names;
};

TEST(QuantizedLoading, KeepsNoPagesOfSmallTensors) {
  const at::Tensor norm = at::ones({8}), table = at::ones({1 << 19});
  ReleasedNames file({{"norm.weight", norm}, {"table.weight", table}});
  quantization::QuantizingSource source(file, {.quantization = {}, .dtype = at::kFloat, .skip_modules = {}, .where = "model"});
  const at::Tensor copy = source.get("norm.weight", {8}, io::WeightRole::kNorm);
  EXPECT_TRUE(copy.equal(norm));
  EXPECT_FALSE(copy.is_alias_of(norm));
  EXPECT_TRUE(source.get("table.weight", {1 << 19}, io::WeightRole::kEmbedding).is_alias_of(table));
  EXPECT_THAT(file.names, ElementsAre("norm.weight"));
}

TEST(QuantizedLoading, HasTheBytesThatBitsandbytesSaves) {
  const fs::path folder = data_folder() / "quantized/bitsandbytes_models";
  const Json cases = read_json(folder / "cases.json", ErrorKind::kData);
  for (const auto& [name, saved] : cases.items()) {
    SCOPED_TRACE(name);
    const BaseModel base = load_base_model(quantized_options(saved), 0);
    const io::SafetensorsFile file(folder / name / "model.safetensors");
    const std::map<std::string, const io::PackedMatrix*> packed = nn::packed_matrices(*base.model);
    int64_t stored = 0;
    for (const std::string& tensor : file.names()) {
      stored += tensor.ends_with(".absmax") || tensor.ends_with(".SCB") ? 1 : 0;
    }
    EXPECT_EQ(static_cast<int64_t>(packed.size()), stored);
    for (const auto& [weight, matrix] : packed) {
      for (const auto& [ending, part] : stored_parts(*matrix)) {
        const std::string key = ending == "SCB" ? weight.substr(0, weight.rfind('.') + 1) + ending : weight + ending;
        ASSERT_TRUE(file.contains(key)) << key;
        test::expect_equal(bytes_of(part), bytes_of(file.tensor(key)), key);
      }
      EXPECT_EQ(matrix->value_dtype(), base.model->dtype());
    }
  }
}

TEST(QuantizedLoading, GivesTheLogitsOfTheFolderThatBitsandbytesSaved) {
  const fs::path folder = data_folder() / "quantized/bitsandbytes_models";
  const Json cases = read_json(folder / "cases.json", ErrorKind::kData);
  for (const char* name : {"nf4", "int8"}) {
    const BaseModel base = load_base_model(quantized_options(cases[name]), 0);
    const io::SafetensorsFile expected(folder / name / "expected.safetensors");
    test::expect_close(logits_of(base, expected.tensor("input_ids")), expected.tensor("logits"), 1e-5, name);
  }
}

const fs::path kLlama = "quantized/training/nf4/model";

TEST(QuantizedLoading, SaysWhatIsPacked) {
  const BaseModel base = load_base_model(quantized_options(data_folder() / kLlama, QuantizationKind::kNf4), 0);
  const nn::PackedWeights packed = nn::packed_weights(*base.model);
  EXPECT_EQ(packed.total().matrices, 14) << "seven in each layer; the tied head and the embeddings stay plain";
  EXPECT_THAT(packed.plain, IsEmpty());
  EXPECT_EQ(base.quantization, packed.text());
  EXPECT_THAT(base.quantization, HasSubstr("nf4 (14 matrices, "));
  EXPECT_EQ(packed.largest, 64 * 64);
  const nn::BaseSize size = base.model->base_size();
  const BaseModel plain = load_base_model(quantized_options(data_folder() / kLlama, QuantizationKind::kNone), 0);
  EXPECT_EQ(size.values, plain.model->base_size().values);
  EXPECT_EQ(plain.model->base_size().bytes - size.bytes, 4 * packed.total().values - packed.total().bytes);
  EXPECT_EQ(plain.quantization, "");
  EXPECT_EQ(nn::packed_tile_bytes(*base.model), 4 * 64 * 64) << "one matrix as a whole";
  EXPECT_EQ(nn::packed_tile_bytes(*plain.model), 0);
}

TEST(QuantizedLoading, ReadsThePlainWeightAgain) {
  for (const char* folder : {"quantized/training/nf4/model", "families/gpt2/model"}) {
    const BaseModel base = load_base_model(quantized_options(data_folder() / folder, QuantizationKind::kFp4), 0);
    const BaseModel plain = load_base_model(quantized_options(data_folder() / folder, QuantizationKind::kNone), 0);
    ASSERT_TRUE(base.plain_weight);
    EXPECT_FALSE(plain.plain_weight);
    const std::map<std::string, const io::PackedMatrix*> packed = nn::packed_matrices(*base.model);
    EXPECT_FALSE(packed.empty());
    for (const nn::Host* host : plain.model->hosts()) {
      const std::string name = host->name() + ".weight";
      if (packed.count(name) > 0) {
        test::expect_equal(base.plain_weight(name).contiguous(), dynamic_cast<const nn::Linear&>(*host).weight().contiguous(), name);
      }
    }
  }
}

TEST(QuantizedLoading, PacksExpertsMatrixByMatrix) {
  for (const char* name : {"mixtral", "qwen3_moe"}) {
    SCOPED_TRACE(name);
    const fs::path folder = test::Golden(name).folder / "model";
    const BaseModel base = load_base_model(quantized_options(folder, QuantizationKind::kInt8), 0);
    const BaseModel plain = load_base_model(quantized_options(folder, QuantizationKind::kNone), 0);
    EXPECT_GT(nn::packed_weights(*base.model).experts, 0);
    const std::map<std::string, const io::PackedMatrix*> packed = nn::packed_matrices(*base.model);
    for (const nn::Parameter& parameter : plain.model->base_parameters()) {
      if (packed.count(parameter.name) > 0) {
        const at::Tensor values = io::decoded(*packed.at(parameter.name), at::kFloat).view(parameter.tensor.sizes());
        test::expect_close(values, parameter.tensor, 1.0 / 250, parameter.name);  // at most half a step of a row's codes
        parameter.tensor.detach().copy_(values);
      }
      EXPECT_FALSE(parameter.name.ends_with(".gate.weight") && packed.count(parameter.name) > 0) << "the router " << parameter.name;
    }
    const nn::Batch batch = test::batch_of({{{5, 3, 9, 2, 7, 11}, {5, 3, 9, 2, 7, 11}, 0}});
    const at::NoGradGuard no_grad;
    const nn::Pass pass = nn::evaluation_pass(batch);
    test::expect_close(base.model->body->hidden(pass), plain.model->body->hidden(pass), 1e-5);
  }
}

TEST(QuantizedLoading, HeadsStayPlain) {
  const fs::path folder = test::Golden("bert_pairs").folder / "model";
  const BaseModel base = load_base_model(quantized_options(folder, QuantizationKind::kNf4), 0, SequenceHeadRequest{3});
  const nn::PackedWeights packed = nn::packed_weights(*base.model);
  EXPECT_THAT(packed.plain, ElementsAre("bert.pooler.dense", "classifier"));
  EXPECT_FALSE(packed.empty());
}

TEST(QuantizedLoading, AWeightThatIsNotFiniteIsAnError) {
  const test::TemporaryFolder folder;
  fs::copy(data_folder() / kLlama / "config.json", folder.path() / "config.json");
  const io::SafetensorsFile file(data_folder() / kLlama / "model.safetensors");
  std::vector<io::NamedTensor> tensors;
  for (const std::string& name : file.names()) {
    tensors.push_back({name, file.tensor(name).clone()});
  }
  const auto damaged =
      std::find_if(tensors.begin(), tensors.end(), [](const auto& tensor) { return tensor.name.ends_with("1.mlp.up_proj.weight"); });
  damaged->tensor.view({-1})[5] = std::numeric_limits<float>::quiet_NaN();
  io::save_tensors(folder.path() / "model.safetensors", tensors);
  for (const QuantizationKind type : {QuantizationKind::kNf4, QuantizationKind::kInt8}) {
    expect_error(ErrorKind::kModel, {"model.layers.1.mlp.up_proj.weight", "not finite"},
                 [&] { load_base_model(quantized_options(folder.path(), type), 0); });
  }
}

/// What is logged while the folder is loaded.
std::string log_of(const ModelOptions& options) {
  testing::internal::CaptureStderr();
  load_base_model(options, 0);
  return testing::internal::GetCapturedStderr();
}

TEST(QuantizedLoading, SaysThatPackedWeightsAreDecoded) {
  const fs::path folder = data_folder() / "quantized/bitsandbytes_models/nf4_dq";
  ModelOptions options = quantized_options(folder, QuantizationKind::kInt8);
  EXPECT_THAT(log_of(options),
              HasSubstr("weights stored as nf4-dq are decoded and quantised again as int8, which rounds them a second time"));
  EXPECT_THAT(load_base_model(options, 0).quantization, HasSubstr("int8 ("));
  options.quantization->type = QuantizationKind::kNone;
  EXPECT_THAT(log_of(options), HasSubstr("weights stored as nf4-dq are decoded to plain numbers, which occupy "));
  options.quantization.reset();
  EXPECT_THAT(log_of(options), Not(HasSubstr("decoded")));
  EXPECT_THAT(log_of(quantized_options(data_folder() / kLlama, QuantizationKind::kInt8)), Not(HasSubstr("decoded")));
}

TEST(PlainModules, AreThoseOfTransformersSkipList) {
  const quantization::PlainModules modules({"up_proj", "model.layers.1", R"(model\.layers\.\d\.mlp\.gate)", "attn"});
  EXPECT_TRUE(modules.contains("lm_head"));
  EXPECT_TRUE(modules.contains("model.layers.0.mlp.up_proj")) << "the end of the name";
  EXPECT_TRUE(modules.contains("model.layers.1.mlp.down_proj")) << "from the start to the end of a part";
  EXPECT_FALSE(modules.contains("model.layers.11.mlp.down_proj"));
  EXPECT_TRUE(modules.contains("model.layers.3.mlp.gate"));
  EXPECT_FALSE(modules.contains("model.layers.3.mlp.gate_proj")) << "a match ends at the end of a part";
  EXPECT_FALSE(modules.contains("model.layers.0.self_attn.q_proj")) << "neither the start nor the end";
  EXPECT_TRUE(modules.contains("model.layers.0.self_attn"));
}

TEST(PlainModules, KnowsWhatNothingMatched) {
  quantization::PlainModules modules({"up_proj", "q_porj"});
  EXPECT_THAT(modules.unmatched(), ElementsAre("up_proj", "q_porj"));
  modules.see("model.layers.0.mlp.up_proj");
  EXPECT_THAT(modules.unmatched(), ElementsAre("q_porj"));
  expect_error(ErrorKind::kConfig, {"model.quantization.skip_modules", "("}, [] { quantization::PlainModules({"("}); });
}

TEST(PackedModules, AreKnownBeforeLoading) {
  ModelOptions options = quantized_options(data_folder() / kLlama, QuantizationKind::kNf4);
  EXPECT_EQ(packed_modules(options).size(), 14U);
  options.quantization->skip_modules = {"mlp.down_proj"};
  EXPECT_EQ(packed_modules(options).size(), 12U);
  options.quantization->type = QuantizationKind::kNone;
  EXPECT_THAT(packed_modules(options), IsEmpty());
}

/// Whatever loading packs, and nothing else.
TEST(QuantizationPlan, IsWhatLoadingDoes) {
  for (const fs::path& model : {kLlama, fs::path("families/qwen3_moe/model"), fs::path("families/mixtral/model"),
                                fs::path("families/gpt2/model")}) {
    SCOPED_TRACE(model.string());
    ModelOptions options = quantized_options(data_folder() / model, QuantizationKind::kNf4, ComputeDtype::kBFloat16);
    options.quantization->skip_modules = {"v_proj", "0.mlp.c_fc"};
    options.quantization->block_size = 128;
    const QuantizationPlan plan = quantization_plan(options);
    EXPECT_EQ(plan.loading.dtype, at::kBFloat16);
    EXPECT_EQ(plan.loading.quantization.block_size, 128);
    const BaseModel base = load_base_model(options, 0);
    const std::map<std::string, const io::PackedMatrix*> packed = nn::packed_matrices(*base.model);
    EXPECT_FALSE(packed.empty());
    EXPECT_EQ(plan.projections.size() + plan.experts.size(), packed.size());
    for (const auto& [name, matrix] : packed) {
      EXPECT_TRUE(plan.packs(name)) << name;
      EXPECT_EQ(plan.experts.count(name) > 0, name.find("experts") != std::string::npos) << name;
    }
  }
}

}  // namespace
}  // namespace lora::models
