// What lora-train writes, every companion reads: each kind of adapter with each program.
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "app/inspect_adapter.h"
#include "config/sections.h"
#include "lora/peft/adapter.h"
#include "small_model.h"
#include "support/temporary_folder.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;

struct Kind {
  const char* adapter;          ///< beside r and lora_alpha
  const char* base = "untied";  ///< or "tied", or "" for both
  bool is_combined = true;      ///< lora-merge --combine takes it
  bool is_plain = true;         ///< formats of low-rank pairs alone take it
};

/// Every option of `adapter` that changes what is written.
const std::vector<Kind> kKinds{
    {R"("target_modules": ["q_proj", "v_proj"])", ""},
    {R"("target_modules": "all-linear", "use_rslora": true)"},
    {R"("target_modules": ".*layers\\.1\\.mlp\\.(up|down)_proj")"},
    {R"("target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 3}, "alpha_pattern": {"layers.1.*q_proj": 5})"},
    {R"("target_modules": ["q_proj", "k_proj"], "layers_to_transform": [1], "layers_pattern": "layers")"},
    {R"("target_modules": "all-linear", "exclude_modules": ["down_proj"], "init_lora_weights": "gaussian")"},
    {R"("target_modules": ["o_proj"], "init_lora_weights": "orthogonal")"},
    {R"("target_modules": ["o_proj"], "init_lora_weights": false)"},
    {R"("target_modules": ["q_proj", "down_proj"], "init_lora_weights": "pissa")"},
    {R"("target_modules": ["q_proj"], "init_lora_weights": "pissa_niter_4")"},
    {R"("target_modules": ["q_proj", "down_proj"], "init_lora_weights": "olora", "use_rslora": true)"},
    {R"("target_modules": ["q_proj"], "init_lora_weights": "pissa", "use_dora": true)", "untied", false, false},
    {R"("target_modules": ["q_proj", "embed_tokens"], "use_dora": true)", "untied", false, false},
    {R"("target_modules": ["k_proj"], "lora_bias": true)", "untied", false, false},
    {R"("target_modules": ["q_proj"], "bias": "lora_only")", "untied", false, false},
    {R"("target_modules": ["q_proj"], "bias": "all", "modules_to_save": ["norm"])", "untied", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"])", "untied", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"])", "", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["lm_head"])", "", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": true)", "tied", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "ensure_weight_tying": true)", "tied", false, false},
    {R"("target_modules": ["q_proj"], "modules_to_save": ["mlp"])", "untied", false, false},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": [3, 1])", "", false, false},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": {"lm_head": [2], "embed_tokens": [3, 1]})", "", false, false},
    {R"("target_modules": ["q_proj"], "trainable_token_indices": [3, 1], "ensure_weight_tying": true)", "tied", false, false},
    {R"("target_modules": ["q_proj", "embed_tokens", "lm_head"])", ""},
    {R"("target_modules": ["embed_tokens"], "ensure_weight_tying": true)", "tied"},
};

peft::LoraOptions read_options(const Json& section) {
  config::Findings findings;
  const config::Surroundings nowhere;
  const config::Context context{fs::current_path(), {}, nowhere};
  peft::LoraOptions options = *config::read_adapter(section, config::Place{"adapter", findings}, context).options;
  findings.throw_if_any();
  return options;
}

/// Writes an adapter with large values as a run would; gives the loss with it.
double train_and_save(const Json& section, const fs::path& base, const fs::path& folder) {
  const models::BaseModel model = load_small(base);
  const auto method = peft::attach_lora(read_options(section), *model.model, "base", 42);
  const at::NoGradGuard no_grad;
  uint64_t seed = 1;
  for (const nn::Parameter& parameter : method->parameters()) {
    const at::Tensor noise = at::randn(parameter.tensor.sizes(), at::detail::createCPUGenerator(seed++));
    parameter.tensor.detach().add_(parameter.name.ends_with("magnitude_vector") ? parameter.tensor.detach() * noise * 0.2 : noise * 0.2);
  }
  fs::create_directories(folder);
  method->save(folder);
  return loss_of(*model.model);
}

double continued_loss(const fs::path& base, const fs::path& folder) {
  const models::BaseModel model = load_small(base);
  const auto method = peft::attach_lora(read_options({{"init_from", folder.string()}}), *model.model, "base", 7);
  return loss_of(*model.model);
}

double converted_loss(const fs::path& base, const fs::path& folder, const fs::path& output, const std::string& to) {
  convert_to(to, folder, output / to, base);
  if (to == "peft" || to == "vllm") {
    return loss_with(base, output / to);
  }
  convert_to("peft", output / to, output / "back", base);
  return loss_with(base, output / "back");
}

double combined_loss(const fs::path& base, const fs::path& folder, const fs::path& output) {
  app::MergeRequest request;
  request.adapters = {folder.string(), folder.string()};
  request.weights = {0.25, 0.75};
  request.combine = "cat";
  request.output = output;
  app::merge_command(request);
  return loss_with(base, output);
}

void expect_read_by_all(const Kind& kind, const std::string& base_name) {
  const TemporaryFolder scratch;
  const fs::path base = kStored / base_name;
  const fs::path folder = scratch / "adapter";
  Json section = Json::parse("{" + std::string(kind.adapter) + "}");
  section.update({{"r", 2}, {"lora_alpha", 3}});
  const double expected = train_and_save(section, base, folder);
  constexpr double kTolerance = 1e-5;

  EXPECT_NEAR(loss_with(base, folder), expected, kTolerance) << "lora-eval, lora-generate";
  EXPECT_NEAR(continued_loss(base, folder), expected, kTolerance) << "lora-train with init_from";
  merge_into(base, folder, scratch / "merged");
  EXPECT_NEAR(loss_of(*load_small(scratch / "merged").model), expected, kTolerance) << "lora-merge";
  EXPECT_FALSE(app::adapter_facts(folder)["modules"].empty()) << "lora-inspect";
  EXPECT_NEAR(converted_loss(base, folder, scratch.path(), "peft"), expected, kTolerance) << "lora-convert --to peft";
  if (kind.is_plain) {
    EXPECT_NEAR(converted_loss(base, folder, scratch.path(), "vllm"), expected, kTolerance) << "lora-convert --to vllm";
  }
  if (kind.is_combined) {
    EXPECT_NEAR(combined_loss(base, folder, scratch / "combined"), expected, kTolerance) << "lora-merge --combine";
  }
}

TEST(EveryCompanion, ReadsWhatIsTrained) {
  for (const Kind& kind : kKinds) {
    for (const std::string base : {"untied", "tied"}) {
      if (*kind.base != '\0' && base != kind.base) {
        continue;
      }
      SCOPED_TRACE(base + ": " + kind.adapter);
      try {
        expect_read_by_all(kind, base);
      } catch (const Error& error) {
        ADD_FAILURE() << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace lora::test
