#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/peft/method.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::load_folder;
using test::TemporaryFolder;
using test::tiny_llama;

TEST(Full, TrainsEveryBaseWeightOnce) {
  for (const bool tied : {false, true}) {
    const models::BaseModel base = tiny_llama(Json{{"tie_word_embeddings", tied}});
    const auto method = attach_full(*base.model, {base.config});
    EXPECT_EQ(method->name(), "full fine-tuning");
    EXPECT_EQ(method->parameters().size(), 3U * 9 + (tied ? 2 : 3));
    for (const nn::Parameter& parameter : method->parameters()) {
      EXPECT_TRUE(parameter.tensor.requires_grad() && parameter.tensor.is_leaf()) << parameter.name;
    }
    EXPECT_TRUE(base.model->head()->weight().requires_grad());
    EXPECT_EQ(method->matches().size(), 1U);
  }
}

TEST(Full, WritesAFolderThatLoadsAsABase) {
  for (const bool tied : {false, true}) {
    const Json changes{{"tie_word_embeddings", tied}, {"torch_dtype", tied ? "bfloat16" : "float32"}};
    const models::BaseModel base = tiny_llama(changes);
    const auto method = attach_full(*base.model, {base.config});
    const TemporaryFolder folder;
    method->save(folder.path());
    EXPECT_EQ(test::files_in(folder.path()), (std::vector<std::string>{"config.json", "model.safetensors"}));
    EXPECT_EQ(method->weights_file(), "model.safetensors");
    EXPECT_EQ(io::SafetensorsFile(folder / "model.safetensors").metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
    EXPECT_EQ(io::SafetensorsFile(folder / "model.safetensors").contains("lm_head.weight"), !tied);
    const models::BaseModel loaded = load_folder(folder.path());
    EXPECT_EQ(loaded.model->dtype(), base.model->dtype());
    const auto parameters = loaded.model->base_parameters();
    ASSERT_EQ(parameters.size(), method->parameters().size());
    for (size_t i = 0; i < parameters.size(); ++i) {
      expect_equal(parameters[i].tensor, method->parameters()[i].tensor.detach(), parameters[i].name);
    }
    // A model with other values loads the file too.
    const models::BaseModel fresh = tiny_llama(changes, 9);
    const auto again = attach_full(*fresh.model, {fresh.config});
    again->load(folder.path());
    for (size_t i = 0; i < parameters.size(); ++i) {
      expect_equal(again->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach(), parameters[i].name);
    }
  }
}

TEST(Full, ConfigNamesTheDtypeOfTheWeights) {
  const TemporaryFolder folder;
  const auto written = [&](const Json& changes) {
    Json config = test::tiny_llama_config();
    config.update(changes);
    const models::BaseModel base = tiny_llama(changes);
    attach_full(*base.model, {config})->save(folder.path());
    return read_json(folder / "config.json", ErrorKind::kModel);
  };
  EXPECT_EQ(written(Json{{"torch_dtype", "bfloat16"}})["torch_dtype"], "bfloat16");
  Json modern = written(Json{{"torch_dtype", "auto"}});
  EXPECT_EQ(modern["torch_dtype"], "float32");
  EXPECT_EQ(modern["num_hidden_layers"], 3);
}

TEST(Full, PatternsChooseWhatIsTrained) {
  const models::BaseModel base = tiny_llama();
  const std::vector<std::string> patterns{"layers\\.1\\.mlp", "^lm_head"};
  const auto method = attach_full(*base.model, {base.config}, patterns);
  std::vector<std::string> names;
  for (const nn::Parameter& parameter : method->parameters()) {
    names.push_back(parameter.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight",
                                             "model.layers.1.mlp.down_proj.weight", "lm_head.weight"}));
  EXPECT_EQ(method->name(), "fine-tuning of some weights");
  ASSERT_EQ(method->matches().size(), 2U);
  EXPECT_EQ(method->matches()[0].entry, patterns[0]);
  EXPECT_EQ(method->matches()[0].hosts.size(), 3U);
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    const bool is_chosen = std::find(names.begin(), names.end(), parameter.name) != names.end();
    EXPECT_EQ(parameter.tensor.requires_grad(), is_chosen) << parameter.name;
  }
  // The file has every weight.
  const TemporaryFolder folder;
  method->save(folder.path());
  EXPECT_EQ(io::SafetensorsFile(folder / "model.safetensors").names().size(), 3U * 9 + 3);
  const models::BaseModel fresh = tiny_llama(Json::object(), 9);
  attach_full(*fresh.model, {fresh.config}, patterns)->load(folder.path());
  expect_equal(fresh.model->base_parameters().front().tensor, base.model->base_parameters().front().tensor);
  // Nothing below the lowest trained layer is kept for backward.
  const models::BaseModel whole = tiny_llama();
  attach_full(*whole.model, {whole.config});
  const auto kept = [](const models::BaseModel& model) { return model.model->body->pass_memory(nn::Recompute::kNothing).kept; };
  EXPECT_LT(kept(base), kept(whole));

  expect_error(ErrorKind::kConfig, {"training.train_parameters", "found 'q_porj'", "30 names", "model.embed_tokens.weight"},
               [&] { attach_full(*base.model, {base.config}, std::vector<std::string>{"lm_head", "q_porj"}); });
}

TEST(Full, ErrorsLeaveNoFiles) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_full(*base.model, {base.config});
  const TemporaryFolder good;
  method->save(good.path());
  const models::BaseModel smaller = tiny_llama(Json{{"num_hidden_layers", 2}});
  const auto other = attach_full(*smaller.model, {smaller.config});
  expect_error(ErrorKind::kModel, {"model.safetensors", "9 tensors outside of this model", "model.layers.2."},
               [&] { other->load(good.path()); });
  const TemporaryFolder empty;
  expect_error(ErrorKind::kModel, {"model.safetensors"}, [&] { method->load(empty.path()); });
  {
    const at::NoGradGuard no_grad;
    method->parameters().back().tensor.view(-1)[0] = INFINITY;
  }
  expect_error(ErrorKind::kDiverged, {"lm_head.weight", "not finite"}, [&] { method->save(empty.path()); });
  EXPECT_TRUE(test::files_in(empty.path()).empty());
}

}  // namespace
}  // namespace lora::peft
