// Every failure in the table of bad modules in scripts/golden/torchscript.py, with the guard that catches it; silent ones first.
#include <fstream>

#include "lora/nn/adapters.h"
#include "lora/peft/method.h"
#include "lora/torchscript/load.h"
#include "script_run.h"
#include "support/expect_error.h"
#include "support/tensors.h"

namespace lora::torchscript {
namespace {

using test::evaluated;
using test::expect_error;
using test::find_host;
using test::lora_on;
using test::script_options;

struct Refused {
  const char* module;
  std::vector<std::string> parts;
};

TEST(Guards, RefuseModulesOnWhichAdaptersWouldNotWork) {
  const std::vector<Refused> all{
      {"bad_frozen", {"no weight that an adapter can be attached to", "torch.jit.freeze"}},
      {"bad_dropout_traced", {"random in evaluation mode", "eval()"}},
      {"bad_autocast", {"does not reproduce the module's results", "autocast"}},
      {"bad_no_grad", {"no gradient", "torch.no_grad"}},
      {"bad_counting", {"changes itself", "'calls'"}},
      {"bad_counting_tensor", {"changes its own tensor 'calls'"}},
      {"bad_forking", {"in parallel", "fork"}},
      {"bad_baked", {"fails on inputs of", "at least 2", "export_torchscript.py"}},
      {"bad_quantised", {"export"}},
      {"bad_appending", {"changes itself", "writes to its attribute 'seen'"}},
      {"bad_classes", {"returns no logits", "found 3 numbers per token", "at least 48"}},
      {"bad_chaotic", {"does not have the effect of the same change of the weight at: inner.layers.0.q_proj,", "wild. Its forward"}},
      {"bad_half_chaotic", {"does not have the effect of the same change of the weight at: wild."}},
      {"bad_not_finite", {"does not have the effect of the same change of the weight at: edge.", "returns NaN"}},
  };
  for (const Refused& refused : all) {
    SCOPED_TRACE(refused.module);
    expect_error(ErrorKind::kModel, refused.parts, [&] { load_model(script_options(refused.module)); });
  }
}

TEST(Guards, NothingIsLoadedWithoutTrust) {
  models::ModelOptions options = script_options("lm_scripted");
  options.trust_torchscript = false;
  expect_error(ErrorKind::kConfig, {"trust_torchscript", "is a program, not data"}, [&] { load_model(options); });
}

TEST(Guards, HiddenWeightsAreAdaptedInWeightSpace) {
  models::BaseModel base = load_model(script_options("hidden"));
  EXPECT_STREQ(find_host(*base.model, "mix")->kind(), "Linear in weight space");
  peft::LoraOptions with_dropout = lora_on({"mix"});
  with_dropout.lora_dropout = 0.1;
  expect_error(ErrorKind::kConfig, {"adapter.lora_dropout", "'mix'", "aten::matmul", "Use lora_dropout 0"},
               [&] { peft::attach_adapter(with_dropout, *base.model, "base", 1); });
  peft::LoraOptions with_bias = lora_on({"blend"});
  with_bias.lora_bias = true;
  expect_error(ErrorKind::kConfig, {"adapter.lora_bias", "'blend'"}, [&] { peft::attach_adapter(with_bias, *base.model, "base", 1); });
}

TEST(Guards, NativeFastPathsAreHiddenWeights) {
  models::BaseModel base = load_model(script_options("fast_path"));
  EXPECT_STREQ(find_host(*base.model, "layer.self_attn.in_proj_weight")->kind(), "Linear in weight space");
  EXPECT_STREQ(find_host(*base.model, "head")->kind(), "Linear");
}

TEST(Guards, MissingTargetsAreNamed) {
  models::BaseModel base = load_model(script_options("weight_norm"));
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "'extra'", "without a linear operation"},
               [&] { peft::attach_adapter(lora_on({"extra"}), *base.model, "base", 1); });
}

TEST(Guards, DocumentsOfSeveralLengthsDoNotSeeTheirPadding) {
  for (const char* module : {"fast_path", "lm_traced", "llama_sdpa_traced"}) {  // the first one has no mask
    SCOPED_TRACE(module);
    models::BaseModel base = load_model(script_options(module));
    const std::vector<int32_t> a{1, 2, 3, 4, 5}, b{6, 7}, c{8, 9, 10, 11, 12};
    const nn::Model& model = *base.model;
    test::expect_close(evaluated(model, {a, b, c}), at::cat({evaluated(model, {a}), evaluated(model, {b}), evaluated(model, {c})}), 1e-5);
  }
}

TEST(Guards, ATraceUnderAutocastIsAdaptedInWeightSpace) {
  models::BaseModel base = load_model(script_options("autocast_traced"));
  EXPECT_STREQ(find_host(*base.model, "extra")->kind(), "Linear in weight space");
  EXPECT_STREQ(find_host(*base.model, "inner.layers.0.q_proj")->kind(), "Linear");
}

TEST(Guards, EffectsOfPaddingWithinRoundingAreFound) {
  models::ModelOptions options = script_options("sees_padding");
  options.dtype = models::ComputeDtype::kBFloat16;
  const models::BaseModel base = load_model(options);
  const std::vector<int32_t> a{1, 2, 3, 4, 5, 6, 7, 8}, b{6, 7, 8, 9, 10, 11, 12};
  const at::Tensor together = evaluated(*base.model, {a, b});
  EXPECT_TRUE(at::equal(together.slice(0, 8), evaluated(*base.model, {b})));
}

TEST(Guards, TiedWeightsAreFoundByBothNames) {
  for (const char* module : {"tied_traced", "tied_scripted"}) {
    SCOPED_TRACE(module);
    models::BaseModel base = load_model(script_options(module));
    ASSERT_NE(find_host(*base.model, "embed"), nullptr);
    ASSERT_NE(find_host(*base.model, "head"), nullptr);
    EXPECT_STREQ(find_host(*base.model, "embed")->kind(), "Embedding");
    EXPECT_STREQ(find_host(*base.model, "head")->kind(), "Linear");
    EXPECT_EQ(base.model->head(), find_host(*base.model, "head"));
    EXPECT_TRUE(base.model->head()->tied());
  }
}

TEST(Guards, WeightsWithoutGradientCannotBeTargets) {
  models::BaseModel base = load_model(script_options("no_grad_part"));
  expect_error(ErrorKind::kConfig, {"inner.layers.0.q_proj", "gets no gradient"},
               [&] { peft::attach_adapter(lora_on({"q_proj"}), *base.model, "base", 1); });
  const auto method = peft::attach_adapter(lora_on({"extra"}), *base.model, "base", 1);
  EXPECT_EQ(method->parameters().size(), 2);
  models::BaseModel tied = load_model(script_options("tied_detached"));  // the table, not the head of the same weight
  expect_error(ErrorKind::kConfig, {"'embed'", "gets no gradient"},
               [&] { peft::attach_adapter(lora_on({"embed"}), *tied.model, "base", 1); });
  EXPECT_EQ(peft::attach_adapter(lora_on({"embed.weight.linear"}), *tied.model, "base", 1)->parameters().size(), 2);
}

TEST(Guards, InputsAndOutputsAreChecked) {
  models::ModelOptions options = script_options("lm_traced");
  options.inputs = {"input_ids", "mask"};
  expect_error(ErrorKind::kConfig, {"model.inputs", "'mask'", "attention_mask"}, [&] { load_model(options); });
  options.inputs = {"attention_mask", "attention_mask"};
  expect_error(ErrorKind::kConfig, {"model.inputs", "lacks input_ids"}, [&] { load_model(options); });
  options.inputs = {"input_ids", "attention_mask", "labels"};
  expect_error(ErrorKind::kConfig, {"model.inputs", "at most 2"}, [&] { load_model(options); });
  options.inputs.reset();
  options.output = "scores";
  expect_error(ErrorKind::kConfig, {"model.output", "'scores'", "a single tensor"}, [&] { load_model(options); });
  models::ModelOptions tuple = script_options("tuple_traced");
  tuple.output = "2";
  expect_error(ErrorKind::kConfig, {"model.output", "index below 2"}, [&] { load_model(tuple); });
  tuple.output = "0";
  expect_error(ErrorKind::kModel, {"returns no logits", "[batch, length, vocabulary]"}, [&] { load_model(tuple); });
  models::ModelOptions dictionary = script_options("control_flow");
  dictionary.output = "scores";
  expect_error(ErrorKind::kConfig, {"model.output", "hidden, logits"}, [&] { load_model(dictionary); });
}

TEST(Guards, UnsupportedOptionsAreRefused) {
  models::ModelOptions options = script_options("lm_traced");
  options.from_scratch = true;
  expect_error(ErrorKind::kConfig, {"model.from_scratch"}, [&] { load_model(options); });
  options.from_scratch = false;
  options.base_dropout = 0.1;
  expect_error(ErrorKind::kConfig, {"model.base_dropout", "expected 0"}, [&] { load_model(options); });
}

TEST(Guards, BFloat16RunsWhereTheCodeAllowsIt) {
  models::ModelOptions options = script_options("lm_scripted");
  options.dtype = models::ComputeDtype::kBFloat16;
  const models::BaseModel base = load_model(options);
  EXPECT_EQ(base.model->dtype(), at::kBFloat16);
}

TEST(Guards, RoundingOfADeepModuleInBFloat16IsNotMistakenForADeadAdapter) {
  EXPECT_EQ(load_model(script_options("deep_bfloat16")).model->dtype(), at::kBFloat16);
}

}  // namespace
}  // namespace lora::torchscript
