// Prefix tuning, prompt tuning and P-tuning: their files, their starts, and that documents do not see each other.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "adapters.h"
#include "lora/base/error.h"
#include "lora/io/tensors.h"
#include "lora/nn/adapters.h"
#include "lora/nn/kv_cache.h"
#include "lora/nn/pass.h"
#include "lora/peft/adapter.h"
#include "support/batches.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using ::testing::HasSubstr;
using test::expect_close;
using test::expect_equal;
using test::tiny_llama;

PrefixOptions prefix_options(bool projection = false) {
  PrefixOptions options;
  options.num_virtual_tokens = 3;
  options.prefix_projection = projection;
  return options;
}

PromptTuningOptions prompt_options(PromptInit init = PromptInit::kRandom) {
  PromptTuningOptions options;
  options.num_virtual_tokens = 3;
  options.prompt_tuning_init = init;
  return options;
}

PTuningOptions p_tuning_options(PromptNetwork network) {
  PTuningOptions options;
  options.num_virtual_tokens = 3;
  options.encoder_reparameterization_type = network;
  options.encoder_hidden_size = 5;
  return options;
}

std::vector<MethodOptions> all_options() {
  return {prefix_options(), prefix_options(/*projection=*/true), prompt_options(), p_tuning_options(PromptNetwork::kMlp),
          p_tuning_options(PromptNetwork::kLstm)};
}

nn::Batch batch_of(const std::vector<int64_t>& lengths) {
  return test::batch_of(test::documents_of(lengths, 50));
}

at::Tensor states_of(const nn::Model& model, const nn::Batch& batch) {
  const at::NoGradGuard no_grad;
  return model.body->hidden(nn::evaluation_pass(batch).with_virtual_tokens(model.body->virtual_tokens()));
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Prompts, WhatIsSavedIsLoadedAndUsedWithoutTheNetwork) {
  for (const MethodOptions& options : all_options()) {
    const models::BaseModel base = tiny_llama(), other = tiny_llama(), used = tiny_llama();
    const auto method = attach_adapter(options, *base.model, "base", 1);
    SCOPED_TRACE(method->name());
    const test::TemporaryFolder folder;
    method->save(folder.path());
    const nn::Batch batch = batch_of({5, 1, 7});
    const at::Tensor expected = states_of(*base.model, batch);

    const auto again = attach_adapter(options, *other.model, "base", 2);
    EXPECT_FALSE(at::equal(states_of(*other.model, batch), expected));
    again->load(folder.path());
    expect_equal(states_of(*other.model, batch), expected);
    for (size_t i = 0; i < method->parameters().size(); ++i) {
      expect_equal(again->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach(), method->parameters()[i].name);
    }

    MethodOptions stored = options;
    stored->init_from = folder.path();
    stored->keeps_base = true;
    attach_adapter(stored, *used.model, "base", 3);
    expect_close(states_of(*used.model, batch), expected, 1e-6);
    EXPECT_THAT(message_of([&] { read_adapter(folder.path(), stored); }), HasSubstr("is no change of weights"));
  }
}

TEST(Prompts, DocumentsOfABatchAreComputedAsAlone) {
  for (const MethodOptions& options : all_options()) {
    const models::BaseModel base = tiny_llama();
    const auto method = attach_adapter(options, *base.model, "base", 1);
    SCOPED_TRACE(method->name());
    const std::vector<test::Document> documents = test::documents_of({5, 1, 7}, 50);
    std::vector<at::Tensor> alone;
    for (const test::Document& document : documents) {
      alone.push_back(states_of(*base.model, test::batch_of({document})));
    }
    expect_close(states_of(*base.model, test::batch_of(documents)), at::cat(alone), 1e-5);
    nn::use_adapter(*base.model, "");
    EXPECT_EQ(base.model->body->virtual_tokens() + base.model->body->prefix_length(), 0);
    const models::BaseModel bare = tiny_llama();
    expect_equal(states_of(*base.model, test::batch_of(documents)), states_of(*bare.model, test::batch_of(documents)));
  }
}

TEST(Prompts, ADocumentThatIsReadInPartsHasTheSameStates) {
  for (const MethodOptions& options : all_options()) {
    const models::BaseModel base = tiny_llama();
    const auto method = attach_adapter(options, *base.model, "base", 1);
    SCOPED_TRACE(method->name());
    const at::NoGradGuard no_grad;
    const nn::Body& body = *base.model->body;
    const nn::Batch whole = nn::with_virtual_tokens(batch_of({9}), body.virtual_tokens());
    const at::Tensor expected_TD = body.hidden(nn::evaluation_pass(whole));
    nn::KvCache cache({whole.num_tokens()}, body.prefix_length());
    std::vector<at::Tensor> parts;
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 5}, {5, whole.num_tokens()}}) {
      const nn::Tokens tokens{whole.tokens().ids_T.slice(0, begin, end), std::nullopt};
      parts.push_back(body.hidden(nn::cached_pass({nn::make_layout({{end - begin, 0, begin}}), tokens, {}}, cache)));
    }
    expect_close(at::cat(parts), expected_TD, 1e-5);
  }
}

TEST(Prompts, ANetworkOfPeftCannotBeTrainedFurther) {
  const models::BaseModel base = tiny_llama();
  const test::TemporaryFolder folder;
  attach_adapter(prefix_options(/*projection=*/true), *base.model, "base", 1)->save(folder.path());
  std::filesystem::remove(folder.path() / "prompt_encoder.safetensors");
  PrefixOptions options = prefix_options(/*projection=*/true);
  options.init_from = folder.path();
  const models::BaseModel other = tiny_llama();
  EXPECT_THAT(message_of([&] { attach_adapter(options, *other.model, "base", 1); }), HasSubstr("found no prompt_encoder.safetensors"));
}

TEST(Prompts, FaultsOfAFileAreNamed) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_adapter(prompt_options(), *base.model, "base", 1);
  const test::TemporaryFolder folder;
  method->save(folder.path());
  const auto with = [&](const std::vector<io::NamedTensor>& tensors) {
    io::save_tensors(folder.path() / test::kWeights, tensors);
    return message_of([&] { method->load(folder.path()); });
  };
  EXPECT_THAT(with({{"other", at::ones({3, 16})}}), HasSubstr("1 tensor missing: prompt_embeddings; 1 tensor outside"));
  EXPECT_THAT(with({{"prompt_embeddings", at::ones({4, 16})}}), HasSubstr("[4, 16] instead of [3, 16]"));
  EXPECT_THAT(with({{"prompt_embeddings", at::full({3, 16}, NAN)}}), HasSubstr("not finite: prompt_embeddings"));
  method->parameters().front().tensor.detach().fill_(NAN);
  EXPECT_THAT(message_of([&] { method->save(folder.path()); }), HasSubstr("prompt_embeddings"));
}

TEST(Prompts, SizesThatAreNotTheModelsAreErrors) {
  PrefixOptions options = prefix_options();
  options.token_dim = 16;  // grouped queries: 2 key heads of 4 channels
  const models::BaseModel base = tiny_llama();
  EXPECT_THAT(message_of([&] { attach_adapter(options, *base.model, "base", 1); }), HasSubstr("found 16, expected 8"));
  EXPECT_THAT(message_of([&] { require_matching_targets(options, *base.model); }), HasSubstr("adapter.token_dim"));
}

TEST(Prompts, StartsFromEmbeddings) {
  const models::BaseModel base = tiny_llama();
  const at::Tensor table_VD = base.model->hosts().front()->weights().front().base();
  PromptTuningOptions text = prompt_options(PromptInit::kText);
  text.text_ids = {7, 2};
  const auto method = attach_adapter(text, *base.model, "base", 1);
  expect_equal(method->parameters().front().tensor.detach(), table_VD.index_select(0, at::tensor({7, 2, 7}, at::kLong)));
  nn::remove_adapters(*base.model);
  const auto sampled = attach_adapter(prompt_options(PromptInit::kSampleVocab), *base.model, "base", 1);
  for (int64_t i = 0; i < 3; ++i) {
    const at::Tensor row_D = sampled->parameters().front().tensor.detach()[i];
    EXPECT_TRUE(table_VD.eq(row_D).all(1).any().item<bool>());
  }
  nn::remove_adapters(*base.model);
  PrefixOptions zero = prefix_options();
  zero.init_weights = "zero";
  EXPECT_EQ(attach_adapter(zero, *base.model, "base", 1)->parameters().front().tensor.abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace lora::peft
