#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/nn/adapters.h"
#include "lora/peft/merge.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::attach;
using test::expect_error;
using test::hidden_of;
using test::TemporaryFolder;
using testing::ElementsAre;

models::BaseModel llama_with_biases() {
  return test::tiny_llama({{"attention_bias", true}, {"tie_word_embeddings", true}});
}

TrainableTokensOptions some_tokens() {
  TrainableTokensOptions options;
  options.token_indices = {42, 4, 10};
  return options;
}

std::vector<MethodOptions> every_replacement() {
  return {LnTuningOptions(), BitFitOptions(), some_tokens()};
}

void change_all(const Method& method) {
  const at::NoGradGuard no_grad;
  uint64_t seed = 5;
  for (const nn::Parameter& parameter : method.parameters()) {
    parameter.tensor.add_(0.2 * test::normal(parameter.tensor.sizes().vec(), ++seed, at::kFloat));
  }
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  return io::SafetensorsFile(folder / test::kWeights).names();
}

TEST(Replacements, StartAsTheBaseAndAreReadAsTheyAreWritten) {
  for (const MethodOptions& options : every_replacement()) {
    const models::BaseModel base = llama_with_biases(), other = llama_with_biases();
    const at::Tensor before = hidden_of(*base.model);
    const auto method = attach(options, base);
    SCOPED_TRACE(method->name());
    test::expect_equal(hidden_of(*base.model), before);
    change_all(*method);
    EXPECT_FALSE(at::equal(hidden_of(*base.model), before));
    const TemporaryFolder folder, again;
    method->save(folder.path());
    MethodOptions continued = options;
    continued->init_from = folder.path();
    const auto read = attach(continued, other);
    test::expect_equal(hidden_of(*other.model), hidden_of(*base.model));
    read->save(again.path());
    EXPECT_EQ(read_file(again / test::kWeights, ErrorKind::kModel), read_file(folder / test::kWeights, ErrorKind::kModel));
    nn::use_adapter(*base.model, "");
    test::expect_equal(hidden_of(*base.model), before);
  }
}

TEST(Replacements, AreMerged) {
  for (const MethodOptions& options : every_replacement()) {
    const models::BaseModel base = llama_with_biases(), merged = llama_with_biases();
    const auto method = attach(options, base);
    SCOPED_TRACE(method->name());
    change_all(*method);
    const TemporaryFolder folder;
    method->save(folder.path());
    BaseLayout layout;
    layout.tied = true;
    for (const nn::Parameter& parameter : merged.model->base_parameters()) {
      layout.tensors.push_back({parameter.name, parameter.tensor.sizes().vec()});
    }
    const MergePlan plan = plan_merge(layout, {{read_adapter(folder.path(), options), 1, "adapter"}}, false);
    size_t changed = 0;
    const at::NoGradGuard no_grad;
    for (const nn::Parameter& parameter : merged.model->base_parameters()) {
      for (const MergedTensor& tensor : plan.tensors) {
        if (tensor.name == parameter.name && tensor.is_changed()) {
          parameter.tensor.copy_(merged_rows(tensor, parameter.tensor, 0, parameter.tensor.size(0)));
          ++changed;
        }
      }
    }
    EXPECT_GT(changed, 0u);
    test::expect_equal(hidden_of(*merged.model), hidden_of(*base.model));
  }
}

TEST(Replacements, HavePeftsKeys) {
  const TemporaryFolder norms, biases, tokens;
  LnTuningOptions ln_tuning;
  ln_tuning.target_modules = {ModuleChoice::Kind::kList, {"input_layernorm", "post_attention_layernorm"}, ""};
  ln_tuning.layers_to_transform = {1};
  attach(ln_tuning, llama_with_biases())->save(norms.path());
  EXPECT_THAT(names_in(norms.path()), ElementsAre("base_model.model.model.layers.1.input_layernorm.ln_tuning_layers.weight",
                                                  "base_model.model.model.layers.1.post_attention_layernorm.ln_tuning_layers.weight"));
  // PEFT's LN tuning knows no layers_to_transform.
  EXPECT_THAT(read_json(norms / "adapter_config.json", ErrorKind::kModel)["target_modules"],
              ElementsAre("model.layers.1.input_layernorm", "model.layers.1.post_attention_layernorm"));
  BitFitOptions bitfit;
  bitfit.target_modules = {ModuleChoice::Kind::kList, {"layers.0.self_attn.q_proj", "down_proj"}, ""};
  attach(bitfit, llama_with_biases())->save(biases.path());
  EXPECT_THAT(names_in(biases.path()), ElementsAre("base_model.model.model.layers.0.self_attn.q_proj.bias"));
  attach(some_tokens(), llama_with_biases())->save(tokens.path());
  EXPECT_THAT(names_in(tokens.path()),
              ElementsAre("base_model.model.lm_head.trainable_tokens_delta", "base_model.model.model.embed_tokens.trainable_tokens_delta"));
  EXPECT_EQ(read_json(tokens / "adapter_config.json", ErrorKind::kModel)["token_indices"], Json({42, 4, 10}));
}

TEST(Replacements, OfNothingAreErrors) {
  expect_error(ErrorKind::kConfig, {"adapter.peft_type", "BitFit trains biases", "found none"},
               [] { attach(BitFitOptions(), test::tiny_llama()); });
  TrainableTokensOptions tokens = some_tokens();
  tokens.target_modules = {ModuleChoice::Kind::kList, {"q_proj"}, ""};
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "embeddings and the head only", "q_proj"},
               [&] { attach(tokens, test::tiny_llama()); });
  tokens = some_tokens();
  tokens.token_indices.push_back(50);
  expect_error(ErrorKind::kConfig, {"adapter.token_indices", "found the token 50"}, [&] { attach(tokens, test::tiny_llama()); });
  tokens.token_indices.back() = 4;
  expect_error(ErrorKind::kConfig, {"adapter.token_indices", "the token 4 twice"}, [&] { attach(tokens, test::tiny_llama()); });
  const TemporaryFolder folder;
  attach(some_tokens(), test::tiny_llama())->save(folder.path());
  tokens = some_tokens();
  tokens.token_indices.pop_back();
  expect_error(ErrorKind::kModel, {"does not fit its adapter_config.json", "[3, 16]", "2 tokens"},
               [&] { read_adapter(folder.path(), tokens); });
}

}  // namespace
}  // namespace lora::peft
