#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/io/tensors.h"
#include "lora/nn/adapters.h"
#include "lora/nn/embedding.h"
#include "lora/optim/optimizer.h"
#include "lora/peft/method.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::attach;
using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::kWeights;
using test::small_lora;
using test::TemporaryFolder;
using test::tiny_llama;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

LoraOptions saving(std::vector<std::string> modules) {
  LoraOptions options = small_lora({"q_proj"});
  options.modules_to_save = std::move(modules);
  return options;
}

LoraOptions with_tokens(std::vector<TokenIndices> indices) {
  LoraOptions options = small_lora({"q_proj"});
  options.trainable_token_indices = std::move(indices);
  return options;
}

models::BaseModel tied_llama() {
  return tiny_llama(Json{{"tie_word_embeddings", true}});
}

models::BaseModel biased_llama() {
  return tiny_llama(Json{{"attention_bias", true}, {"mlp_bias", true}});
}

/// Names of the trained parameters other than the low-rank pairs.
std::vector<std::string> extra_names(const Method& method) {
  std::vector<std::string> names;
  for (const nn::Parameter& parameter : method.parameters()) {
    if (parameter.name.find(".lora_") == std::string::npos) {
      names.push_back(parameter.name);
    }
  }
  return names;
}

at::Tensor parameter(const Method& method, const std::string& name) {
  for (const nn::Parameter& parameter : method.parameters()) {
    if (parameter.name == name) {
      return parameter.tensor;
    }
  }
  throw std::out_of_range(name);
}

at::Tensor logits_of(const models::BaseModel& base) {
  const at::NoGradGuard no_grad;
  const nn::Batch batch = test::batch_of(test::documents_of({5, 3}, 50));
  const nn::Pass pass = nn::evaluation_pass(batch);
  return base.model->head()->forward(base.model->body->hidden(pass), pass);
}

/// Takes one SGD step on the squared logits, which changes every trained parameter.
void train_a_step(const models::BaseModel& base, const Method& method) {
  const nn::Batch batch = test::batch_of(test::documents_of({5, 3}, 50));
  const nn::Pass pass = nn::evaluation_pass(batch);
  base.model->head()->forward(base.model->body->hidden(pass), pass).square().sum().backward();
  optim::make_optimizer({.kind = optim::OptimizerKind::kSgd}, method.parameters(), 1e-3)->step(1e-3);
}

/// Trains one step and saves. A second model with the same attachments must load the file and give the same logits. The base weights must
/// not change, and without the adapter the logits must be those of the base. Returns the names in the file.
std::vector<std::string> expect_round_trip(const LoraOptions& options, const std::function<models::BaseModel()>& make) {
  const models::BaseModel base = make();
  const at::Tensor bare = logits_of(base);
  std::vector<at::Tensor> before;
  for (const nn::Parameter& weight : base.model->base_parameters()) {
    before.push_back(weight.tensor.clone());
  }
  const auto method = attach(options, base);
  train_a_step(base, *method);
  const at::Tensor adapted = logits_of(base);
  EXPECT_FALSE(at::equal(adapted, bare));
  const auto weights = base.model->base_parameters();
  EXPECT_EQ(weights.size(), before.size());
  for (size_t i = 0; i < before.size(); ++i) {
    expect_equal(weights[i].tensor, before[i], weights[i].name);
  }
  nn::use_adapter(*base.model, "");
  expect_equal(logits_of(base), bare);
  nn::use_adapter(*base.model, "default");
  expect_equal(logits_of(base), adapted);

  const TemporaryFolder folder;
  method->save(folder.path());
  const models::BaseModel again = make(), third = make();
  attach(options, again)->load(folder.path());
  LoraOptions continued = options;
  continued.init_from = folder.path();
  const auto started = attach(continued, third);
  expect_equal(logits_of(again), adapted);
  expect_equal(logits_of(third), adapted);
  return io::SafetensorsFile(folder / kWeights).names();
}

bool has(const std::vector<std::string>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), "base_model.model." + key) != keys.end();
}

TEST(Dora, StartsAsTheBaseAndUsesPeftsKeys) {
  LoraOptions options = small_lora({"q_proj", "embed_tokens"});
  options.use_dora = true;
  const models::BaseModel base = tiny_llama();
  const at::Tensor bare = logits_of(base);
  const auto method = attach(options, base);
  expect_close(logits_of(base), bare, 1e-6);
  const at::Tensor magnitude = parameter(*method, "model.layers.1.self_attn.q_proj.lora_magnitude_vector");
  EXPECT_TRUE(magnitude.requires_grad() && magnitude.is_leaf());
  for (const nn::Parameter& weight : base.model->base_parameters()) {
    if (weight.name == "model.layers.1.self_attn.q_proj.weight") {
      expect_close(magnitude, weight.tensor.norm(2, {1}), 1e-6);
    } else if (weight.name == "model.embed_tokens.weight") {
      expect_close(parameter(*method, "model.embed_tokens.lora_magnitude_vector"), weight.tensor.norm(2, {0}), 1e-6);
    }
  }
  for (const nn::Parameter& trained : method->parameters()) {
    EXPECT_TRUE(trained.weight_decay) << trained.name;  // as in transformers' Trainer
  }
  options.init = LoraInit::kRandom;
  const auto keys = expect_round_trip(options, [] { return tiny_llama(); });
  EXPECT_EQ(keys.size(), 3U * 3 + 3);
  EXPECT_TRUE(has(keys, "model.layers.0.self_attn.q_proj.lora_magnitude_vector") && has(keys, "model.embed_tokens.lora_embedding_A"));
}

TEST(Dora, CombinesWithPissaWithoutChangingTheModel) {
  LoraOptions options = small_lora({"q_proj"});
  options.use_dora = true;
  options.init = LoraInit::kPissa;
  const models::BaseModel base = tiny_llama();
  const at::Tensor bare = logits_of(base);
  const auto method = attach(options, base);
  expect_close(logits_of(base), bare, 1e-5);
  train_a_step(base, *method);
  const TemporaryFolder folder;
  method->save(folder.path());
  LoraOptions portable = small_lora({"q_proj"});
  portable.use_dora = true;
  portable.r = 8;
  portable.lora_alpha = 12;
  portable.init_from = folder.path();
  const models::BaseModel untouched = tiny_llama();
  const auto loaded = attach(portable, untouched);
  expect_close(logits_of(untouched), logits_of(base), 1e-5);
}

TEST(LoraBias, IsTrainedWithoutDecayAndSaved) {
  LoraOptions options = small_lora({"q_proj", "lm_head"});
  options.lora_bias = true;
  const models::BaseModel base = tiny_llama();
  const auto method = attach(options, base);
  EXPECT_EQ(parameter(*method, "lm_head.lora_B.bias").sizes(), at::IntArrayRef({50}));
  EXPECT_EQ(parameter(*method, "lm_head.lora_B.bias").abs().max().item<double>(), 0.0);
  for (const nn::Parameter& trained : method->parameters()) {
    EXPECT_EQ(trained.weight_decay, !trained.name.ends_with(".bias")) << trained.name;
  }
  options.init = LoraInit::kRandom;
  const auto keys = expect_round_trip(options, [] { return tiny_llama(); });
  EXPECT_EQ(keys.size(), 3U * 4);
  EXPECT_TRUE(has(keys, "model.layers.2.self_attn.q_proj.lora_B.bias"));
}

TEST(Biases, AreThoseOfTheTargetsOrAll) {
  LoraOptions options = small_lora({"q_proj"});
  options.bias = TrainedBias::kLoraOnly;
  const models::BaseModel some = biased_llama();
  EXPECT_THAT(extra_names(*attach(options, some)),
              ElementsAre("model.layers.0.self_attn.q_proj.base_layer.bias", "model.layers.1.self_attn.q_proj.base_layer.bias",
                          "model.layers.2.self_attn.q_proj.base_layer.bias"));
  options.bias = TrainedBias::kAll;
  const auto keys = expect_round_trip(options, biased_llama);
  EXPECT_EQ(keys.size(), 3U * (2 + 7));
  EXPECT_TRUE(has(keys, "model.layers.1.mlp.down_proj.bias") && has(keys, "model.layers.1.self_attn.q_proj.base_layer.bias"));
  const models::BaseModel all = biased_llama();
  const auto method = attach(options, all);
  EXPECT_FALSE(std::any_of(method->parameters().begin(), method->parameters().end(),
                           [](const nn::Parameter& p) { return p.name.ends_with(".bias") && p.weight_decay; }));
  testing::internal::CaptureStderr();
  const models::BaseModel none = tiny_llama();
  EXPECT_TRUE(extra_names(*attach(options, none)).empty());
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("[adapter.bias]"));
}

TEST(ModulesToSave, MatchEndsOfNamesAndIncludeSubmodules) {
  const LoraOptions options = saving({"norm", "layers.1.mlp", "lm_head"});
  const models::BaseModel base = biased_llama();
  const auto method = attach(options, base);
  EXPECT_THAT(extra_names(*method),
              UnorderedElementsAre("model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
                                   "model.layers.1.input_layernorm.weight", "model.layers.1.post_attention_layernorm.weight",
                                   "model.layers.2.input_layernorm.weight", "model.layers.2.post_attention_layernorm.weight",
                                   "model.norm.weight", "model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.gate_proj.bias",
                                   "model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.bias",
                                   "model.layers.1.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.bias", "lm_head.weight"));
  for (const nn::Parameter& trained : method->parameters()) {
    const bool is_decayed = trained.name.find("norm") == std::string::npos && !trained.name.ends_with(".bias");
    EXPECT_EQ(trained.weight_decay, is_decayed) << trained.name;
  }
  EXPECT_TRUE(has(expect_round_trip(options, biased_llama), "model.layers.1.mlp.down_proj.weight"));

  expect_error(ErrorKind::kConfig, {"adapter.modules_to_save", "'score'", "lm_head"}, [&] { attach(saving({"score"}), tiny_llama()); });
  // The end of a name, but not a whole part of it: PEFT would save the modules that it adapts.
  expect_error(ErrorKind::kConfig, {"adapter.modules_to_save", "q_proj", "exclude_modules"},
               [&] { attach(saving({"_proj"}), tiny_llama()); });
}

TEST(ModulesToSave, AreFloat32WithAHalfPrecisionBase) {
  LoraOptions options = saving({"lm_head"});
  options.trainable_token_indices = {{"", {4, 2}}};
  const models::BaseModel base = tiny_llama(Json{{"torch_dtype", "bfloat16"}});
  const auto method = attach(options, base);
  for (const nn::Parameter& trained : method->parameters()) {
    EXPECT_EQ(trained.tensor.scalar_type(), at::kFloat) << trained.name;
  }
  EXPECT_EQ(logits_of(base).scalar_type(), at::kBFloat16);
}

TEST(TiedWeights, DivergeUnlessTheyAreKeptTied) {
  for (const std::string saved : {"lm_head", "embed_tokens"}) {
    const models::BaseModel base = tied_llama();
    const auto method = attach(saving({saved}), base);
    EXPECT_THAT(extra_names(*method), ElementsAre(saved == "lm_head" ? "lm_head.weight" : "model.embed_tokens.weight"));
    EXPECT_TRUE(base.model->head()->weight_in_use().is_same(base.model->head()->weight()) == (saved != "lm_head"));
    expect_round_trip(saving({saved}), tied_llama);

    LoraOptions together = saving({saved});
    together.ensure_weight_tying = true;
    const models::BaseModel tied = tied_llama();
    const auto one = attach(together, tied);
    EXPECT_THAT(extra_names(*one), ElementsAre("model.embed_tokens.weight"));
    EXPECT_TRUE(tied.model->head()->weight_in_use().is_same(parameter(*one, "model.embed_tokens.weight")));
    const auto keys = expect_round_trip(together, tied_llama);
    EXPECT_TRUE(has(keys, "model.embed_tokens.weight") && has(keys, "lm_head.weight"));
  }
}

TEST(TiedPairs, ShareMemoryAndAreTwoParametersEach) {
  LoraOptions options = small_lora({"q_proj", "lm_head"});
  options.ensure_weight_tying = true;
  const models::BaseModel base = tied_llama();
  const auto method = attach(options, base);
  const at::Tensor embedding_A = parameter(*method, "model.embed_tokens.lora_embedding_A"),
                   embedding_B = parameter(*method, "model.embed_tokens.lora_embedding_B"),
                   head_A = parameter(*method, "lm_head.lora_A.weight"), head_B = parameter(*method, "lm_head.lora_B.weight");
  EXPECT_EQ(head_A.data_ptr(), embedding_B.data_ptr());
  EXPECT_EQ(head_B.data_ptr(), embedding_A.data_ptr());
  expect_equal(head_A.detach(), embedding_B.detach().t());
  EXPECT_EQ(embedding_A.abs().max().item<double>(), 0.0);
  EXPECT_GT(embedding_B.abs().max().item<double>(), 0.0);
  // The gradients of both update the shared memory.
  train_a_step(base, *method);
  const at::Tensor moved = embedding_A.detach().clone();
  EXPECT_EQ(method->parameters().size(), 3U * 2 + 4);
  expect_close(moved, -1e-3 * (embedding_A.grad() + head_B.grad().t()), 1e-5);
  options.init = LoraInit::kRandom;
  expect_round_trip(options, tied_llama);
  options.rank_pattern = {{"lm_head", 2}};
  expect_error(ErrorKind::kConfig, {"adapter.rank_pattern", "4", "2"}, [&] { attach(options, tied_llama()); });
}

TEST(TokenIndices, AddRowsToTheNamedLayers) {
  const models::BaseModel base = tiny_llama();
  const auto list = attach(with_tokens({{"", {7, 3, 41}}}), base);
  EXPECT_THAT(extra_names(*list), ElementsAre("model.embed_tokens.token_adapter.trainable_tokens_delta"));
  EXPECT_TRUE(base.model->head()->is_plain());
  for (const nn::Parameter& weight : base.model->base_parameters()) {
    if (weight.name == "model.embed_tokens.weight") {
      expect_equal(parameter(*list, "model.embed_tokens.token_adapter.trainable_tokens_delta").detach(),
                   weight.tensor.index_select(0, at::tensor({7, 3, 41}, at::kLong)));
    }
  }
  const auto keys = expect_round_trip(with_tokens({{"embed_tokens", {7, 3}}, {"lm_head", {9}}}), [] { return tiny_llama(); });
  EXPECT_TRUE(has(keys, "lm_head.token_adapter.trainable_tokens_delta"));
  EXPECT_EQ(keys.size(), 3U * 2 + 2);
}

TEST(TokenIndices, AreSharedWithATiedHeadIfTheyAreTheSame) {
  const auto num_rows = [](const LoraOptions& options) {
    const models::BaseModel base = tied_llama();
    const auto method = attach(options, base);
    return std::pair{extra_names(*method).size(), base.model->head()->is_plain()};
  };
  using Figures = std::pair<size_t, bool>;
  EXPECT_EQ(num_rows(with_tokens({{"", {7, 3}}})), (Figures{1, false}));
  EXPECT_EQ(num_rows(with_tokens({{"embed_tokens", {7, 3}}, {"lm_head", {7, 3}}})), (Figures{1, false}));
  EXPECT_EQ(num_rows(with_tokens({{"embed_tokens", {7, 3}}, {"lm_head", {3, 8}}})), (Figures{2, false}));
  EXPECT_EQ(num_rows(with_tokens({{"lm_head", {3, 8}}})), (Figures{1, false}));
  EXPECT_EQ(expect_round_trip(with_tokens({{"", {7, 3}}}), tied_llama).size(), 3U * 2 + 1);
  LoraOptions different = with_tokens({{"embed_tokens", {7, 3}}, {"lm_head", {3, 8}}});
  different.ensure_weight_tying = true;
  expect_error(ErrorKind::kConfig, {"adapter.trainable_token_indices", "ensure_weight_tying"}, [&] { attach(different, tied_llama()); });
}

TEST(TokenIndices, ThatAreInvalidAreConfigErrors) {
  const auto fails = [](const LoraOptions& options, const std::vector<std::string>& parts) {
    std::vector<std::string> all{"adapter.trainable_token_indices"};
    all.insert(all.end(), parts.begin(), parts.end());
    expect_error(ErrorKind::kConfig, all, [&] { attach(options, tiny_llama()); });
  };
  fails(with_tokens({{"", {3, 50}}}), {"50", "below the vocabulary size"});
  fails(with_tokens({{"", {3, 8, 3}}}), {"the token 3 twice"});
  fails(with_tokens({{"wte", {3}}}), {"'wte'", "model.embed_tokens or lm_head"});
  fails(with_tokens({{"embed_tokens", {3}}, {"model.embed_tokens", {4}}}), {"two lists", "model.embed_tokens"});
  LoraOptions saved = with_tokens({{"", {3}}});
  saved.modules_to_save = {"embed_tokens"};
  fails(saved, {"model.embed_tokens", "modules_to_save"});
  LoraOptions adapted = with_tokens({{"", {3}}});
  adapted.target_modules.names = {"embed_tokens"};
  fails(adapted, {"model.embed_tokens", "targets"});
}

}  // namespace
}  // namespace lora::peft
