// Methods on a base whose projections are packed: what works, and what is refused because a weight cannot be trained or changed.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include "adapters.h"
#include "lora/io/tensors.h"
#include "lora/nn/adapters.h"
#include "lora/peft/method.h"
#include "models/registry.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/packed_rows.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::small_lora;

const std::vector<std::string> kPacked{"q_proj", "down_proj", "lm_head"};

/// The tiny Llama from this source, with biases in attention.
std::unique_ptr<nn::Model> llama_of(io::WeightSource& source) {
  Json config = test::tiny_llama_config();
  config["attention_bias"] = true;
  const JsonReader reader(config, "config.json", ErrorKind::kModel);
  return models::find_family("llama", "config.json").build(reader, source, at::kFloat);
}

std::unique_ptr<nn::Model> packed_llama() {
  test::PackedSource source(kPacked);
  return llama_of(source);
}

/// The same values as plain tensors.
class UnpackedSource : public test::PackedSource {
 public:
  UnpackedSource() : PackedSource(kPacked) {}
  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override {
    const io::StoredWeight stored = PackedSource::weight(name, shape, role);
    return {stored.packed == nullptr ? stored.tensor : io::decoded(*stored.packed, at::kFloat)};
  }
};

std::unique_ptr<Method> attached(const LoraOptions& options, nn::Model& model) {
  return attach_adapter(options, model, BaseReference("base"), 1);
}

at::Tensor trained_loss(nn::Model& model) {
  const nn::Pass pass = nn::training_pass(test::batch_of(test::documents_of({7, 4}, 50)), 1, 0);
  const at::Tensor loss = model.tokens->loss_sum(model.body->hidden(pass), pass.batch().labels().labels_T, pass);
  loss.backward();
  return loss.detach();
}

TEST(QuantisedBase, IsTrainedOnAsItsPlainValuesAre) {
  UnpackedSource plain_source;
  for (const bool use_dora : {false, true}) {
    const auto packed = packed_llama(), plain = llama_of(plain_source);
    LoraOptions options = small_lora({"q_proj", "k_proj", "down_proj", "lm_head"});
    options.use_dora = use_dora;
    options.init = LoraInit::kRandom;
    options.bias = TrainedBias::kAll;
    const auto method = attached(options, *packed), expected = attached(options, *plain);
    expect_close(trained_loss(*packed), trained_loss(*plain), 1e-5);
    ASSERT_EQ(method->parameters().size(), expected->parameters().size());
    for (size_t i = 0; i < method->parameters().size(); ++i) {
      expect_equal(method->parameters()[i].tensor, expected->parameters()[i].tensor, method->parameters()[i].name);
      expect_close(method->parameters()[i].tensor.grad(), expected->parameters()[i].tensor.grad(), 1e-4, method->parameters()[i].name);
    }
  }
}

TEST(QuantisedBase, IsNotTrainedWhole) {
  const auto packed = packed_llama();
  expect_error(ErrorKind::kConfig, {"adapter", "'model.layers.0.self_attn.q_proj.weight'", "quantised", "Train an adapter"},
               [&] { attach_full(*packed, {Json::object()}); });
  LoraOptions options = small_lora({"q_proj"});
  options.modules_to_save = {"down_proj"};
  expect_error(ErrorKind::kConfig, {"adapter.modules_to_save", "'model.layers.0.mlp.down_proj.weight'", "quantised"},
               [&] { attached(options, *packed_llama()); });
  options.modules_to_save = {"up_proj", "norm"};  // plain
  EXPECT_EQ(attached(options, *packed_llama())->parameters().size(), 3U * 2 + 3 + 7);
}

TEST(QuantisedBase, KeepsItsValuesWhateverAPairStartsFrom) {
  for (const LoraInit init : {LoraInit::kPissa, LoraInit::kOlora}) {
    const auto model = packed_llama();
    const nn::Pass pass = nn::evaluation_pass(test::batch_of(test::documents_of({7, 4}, 50)));
    const at::NoGradGuard no_grad;
    const at::Tensor before_TD = model->body->hidden(pass);
    LoraOptions options = small_lora({"q_proj"});
    options.init = init;
    attached(options, *model);
    expect_close(model->body->hidden(pass), before_TD, 1e-5);
    nn::use_adapter(*model, "");
    expect_equal(model->body->hidden(pass), before_TD);
  }
}

TEST(QuantisedBase, HasRowsOfTokensAndReplacedValuesInAnAdapter) {
  const auto model = packed_llama();
  LoraOptions options = small_lora({"q_proj"});
  options.trainable_token_indices = {{"lm_head", {7, 3}}};
  const auto method = attached(options, *model);
  const at::Tensor head_VD = model->head()->weight();
  expect_equal(method->parameters().back().tensor.detach(), head_VD.index_select(0, at::tensor({7, 3}, at::kLong)));

  // An adapter that PEFT saved with the head's own values: they replace the packed ones while it is in use.
  const test::TemporaryFolder folder;
  method->save(folder.path());
  io::SafetensorsFile file(folder / test::kWeights);
  std::vector<io::NamedTensor> tensors;
  for (const std::string& name : file.names()) {
    tensors.push_back({name, file.tensor(name).clone()});
  }
  const at::Tensor values = test::normal({50, 16}, 3, at::kFloat);
  tensors.push_back({"base_model.model.lm_head.token_adapter.base_layer.weight", values});
  io::save_tensors(folder / test::kWeights, tensors, file.metadata());
  method->load(folder.path());
  expect_equal(model->head()->weight_in_use(), values);
  nn::use_adapter(*model, "");
  expect_equal(model->head()->weight_in_use(), head_VD);
}

}  // namespace
}  // namespace lora::peft
