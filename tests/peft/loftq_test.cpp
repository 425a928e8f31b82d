// What starts from a packed weight: LoftQ, and PiSSA and OLoRA, which cannot change it.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/models/base_model.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/method.h"
#include "support/adapted_hosts.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::peft {
namespace {

using models::QuantizationKind;
using test::adapted_hosts;
using test::expect_error;
using test::TemporaryFolder;

const std::string kQueries = "model.layers.0.self_attn.q_proj";

models::BaseModel load(const std::optional<models::Quantization>& quantization) {
  models::ModelOptions options;
  options.path = test::kData / "quantized/training/nf4/model";
  options.device = "cpu";
  options.dtype = models::ComputeDtype::kFloat32;
  options.quantization = quantization;
  return models::load_base_model(options, 0);
}

models::Quantization nf4(std::vector<std::string> skip_modules = {}) {
  return {.type = QuantizationKind::kNf4, .skip_modules = std::move(skip_modules)};
}

BaseReference reference_of(const models::BaseModel& base) {
  BaseReference reference("base", base.fingerprint);
  reference.quantization = base.quantization;
  reference.plain_weight = base.plain_weight;
  return reference;
}

LoraOptions with_start(LoraInit init, int64_t r = 4, double lora_alpha = 12) {
  LoraOptions options;
  options.r = r;
  options.lora_alpha = lora_alpha;
  options.target_modules.kind = ModuleChoice::Kind::kAllLinear;
  options.init = init;
  return options;
}

at::Tensor product(const nn::LowRank& pair) {
  return pair.scale * pair.B_OR.detach().matmul(pair.A_RI.detach());
}

void take_steps(const Method& method) {
  const at::NoGradGuard no_grad;
  uint64_t seed = 0;
  for (const nn::Parameter& parameter : method.parameters()) {
    parameter.tensor.add_(0.05 * test::normal(parameter.tensor.sizes().vec(), ++seed, at::kFloat));
  }
}

TEST(LoftqStart, IsTheBestApproximationOfTheTrueError) {
  const std::filesystem::path folder = test::kData / "quantized/loftq";
  const Json cases = read_json(folder / "cases.json", ErrorKind::kData);
  for (const auto& [name, saved] : cases.items()) {
    SCOPED_TRACE(name);
    models::Quantization quantization{.type = *models::kQuantizationKinds.find(saved["quantization"]["type"].get<std::string>())};
    quantization.double_quant = saved["quantization"].value("double_quant", false);
    const models::BaseModel base = load(quantization);
    const auto method = attach_adapter(with_start(LoraInit::kLoftq, saved["r"].get<int64_t>(), saved["lora_alpha"].get<double>()),
                                       *base.model, reference_of(base), 1);
    const io::SafetensorsFile expected(folder / (name + ".safetensors"));
    size_t compared = 0;
    for (const nn::Linear* host : adapted_hosts(*base.model)) {
      ASSERT_EQ(host->attached<nn::LowRank>().size(), 1U);
      if (expected.contains(host->name() + ".weight")) {
        test::expect_near(product(*host->attached<nn::LowRank>().at(0)), expected.tensor(host->name() + ".weight"), 1e-6, host->name());
        ++compared;
      }
    }
    EXPECT_EQ(compared, expected.names().size());
  }
}

TEST(LoftqStart, ComesNearerToThePlainModel) {
  const models::BaseModel plain = load(std::nullopt), packed = load(nf4());
  const at::Tensor expected = test::hidden_of(*plain.model);
  const double before = (test::hidden_of(*packed.model) - expected).norm().item<double>();
  const auto method = attach_adapter(with_start(LoraInit::kLoftq, 16, 16), *packed.model, reference_of(packed), 1);
  EXPECT_LT((test::hidden_of(*packed.model) - expected).norm().item<double>(), 0.8 * before);
}

TEST(LoftqStart, OfAPlainProjectionIsZero) {
  const models::BaseModel base = load(nf4({"q_proj"}));
  const auto method = attach_adapter(with_start(LoraInit::kLoftq), *base.model, reference_of(base), 1);
  for (const nn::Linear* host : adapted_hosts(*base.model)) {
    const bool is_plain = host->name().ends_with("q_proj");
    EXPECT_EQ(product(*host->attached<nn::LowRank>().at(0)).abs().max().item<double>() == 0, is_plain) << host->name();
  }
}

TEST(LoftqStart, IsSavedAsAnAdapterOfTheQuantisedBase) {
  const TemporaryFolder folder;
  const models::BaseModel base = load(nf4());
  LoraOptions options = with_start(LoraInit::kLoftq);
  options.config = Json::parse(R"({"loftq_config": {"loftq_bits": 4}})");
  attach_adapter(options, *base.model, reference_of(base), 1)->save(folder.path());
  const Json config = read_json(folder.path() / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["init_lora_weights"], true) << "PEFT would repeat the start";
  EXPECT_EQ(config["loftq_config"], Json::object());
  const AdapterFolder file(folder.path());
  EXPECT_EQ(base_quantization(file.metadata()), base.quantization);
  EXPECT_TRUE(corrects_quantization(file.metadata()));

  const models::BaseModel again = load(nf4());
  LoraOptions continued = with_start(LoraInit::kDefault);
  continued.init_from = folder.path();
  const auto method = attach_adapter(continued, *again.model, reference_of(again), 1);
  EXPECT_TRUE(at::equal(test::hidden_of(*again.model), test::hidden_of(*base.model)));
  const TemporaryFolder second;
  method->save(second.path());
  EXPECT_TRUE(corrects_quantization(AdapterFolder(second.path()).metadata())) << "it still does";
}

TEST(LoftqStart, NeedsThePlainWeights) {
  const models::BaseModel base = load(nf4());
  BaseReference reference = reference_of(base);
  reference.plain_weight = nullptr;
  expect_error(ErrorKind::kConfig, {"adapter.init_lora_weights", "packed"},
               [&] { attach_adapter(with_start(LoraInit::kLoftq), *base.model, reference, 1); });
}

TEST(StartFromAPackedWeight, LeavesTheModelUnchangedAndIsPortable) {
  for (const LoraInit init : {LoraInit::kPissa, LoraInit::kOlora}) {
    const TemporaryFolder folder;
    const models::BaseModel base = load(nf4());
    const at::Tensor before = test::hidden_of(*base.model);
    const auto method = attach_adapter(with_start(init), *base.model, reference_of(base), 1);
    test::expect_close(test::hidden_of(*base.model), before, 1e-5);
    take_steps(*method);
    const at::Tensor trained = test::hidden_of(*base.model);
    EXPECT_GT((trained - before).abs().max().item<double>(), 1e-2);
    method->save(folder.path());

    const models::BaseModel again = load(nf4());
    LoraOptions portable = with_start(LoraInit::kDefault, 8, 24);
    portable.init_from = folder.path();
    const auto loaded = attach_adapter(portable, *again.model, reference_of(again), 1);
    test::expect_close(test::hidden_of(*again.model), trained, 1e-5);

    // A checkpoint of the run itself.
    const models::BaseModel resumed = load(nf4());
    const auto own = attach_adapter(with_start(init), *resumed.model, reference_of(resumed), 1);
    own->load(folder.path());
    EXPECT_TRUE(at::equal(test::hidden_of(*resumed.model), trained));
  }
}

TEST(StartFromAPackedWeight, IsNotForDoraOrStoredParts) {
  const models::BaseModel base = load(nf4());
  LoraOptions dora = with_start(LoraInit::kPissa);
  dora.use_dora = true;
  expect_error(ErrorKind::kConfig, {"adapter.use_dora", "packed weight of " + kQueries},
               [&] { attach_adapter(dora, *base.model, reference_of(base), 1); });
  LoraOptions stored = with_start(LoraInit::kPissa);
  stored.keeps_base = true;
  const TemporaryFolder folder;
  const models::BaseModel plain = load(std::nullopt);
  attach_adapter(with_start(LoraInit::kDefault), *plain.model, reference_of(plain), 1)->save(folder.path());
  stored.init_from = folder.path();
  const models::BaseModel other = load(nf4());
  expect_error(ErrorKind::kModel, {folder.path().string(), "cannot be repeated"},
               [&] { attach_adapter(stored, *other.model, reference_of(other), 1); });
}

TEST(OtherQuantization, IsWarnedOf) {
  BaseReference base("base", "f");
  const auto said = [&](const std::map<std::string, std::string>& metadata) {
    testing::internal::CaptureStderr();
    warn_of_other_quantization("runs/a", metadata, base);
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said({}), "") << "another program's adapter says nothing of its base";
  EXPECT_EQ(said({{"base_fingerprint", "f"}}), "");
  EXPECT_THAT(said({{"base_fingerprint", "f"}, {"base_quantization", "nf4 (2 matrices)"}, {"corrects_quantization", "true"}}),
              testing::AllOf(testing::HasSubstr("[runs/a] was trained on nf4 (2 matrices), and is used on a base of plain numbers"),
                             testing::HasSubstr("LoftQ")));
  base.quantization = "nf4 (2 matrices)";
  EXPECT_EQ(said({{"base_fingerprint", "f"}, {"base_quantization", "nf4 (2 matrices)"}}), "");
  EXPECT_THAT(said({{"base_fingerprint", "f"}}), testing::HasSubstr("was trained on a base of plain numbers, and is used on nf4"));
}

}  // namespace
}  // namespace lora::peft
