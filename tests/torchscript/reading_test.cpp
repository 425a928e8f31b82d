// Modules with unusual ways of reading weights (scripts/golden/torchscript_guards.py).
#include "lora/peft/eva.h"
#include "peft/targets.h"
#include "script_run.h"
#include "support/expect_error.h"
#include "support/tensors.h"
#include "torchscript/fields.h"

namespace lora::torchscript {
namespace {

using test::evaluated;
using test::find_host;
using test::lora_on;
using test::script_options;

const std::vector<int32_t> kLong{1, 2, 3, 4, 5, 6, 7}, kShort{9, 8, 7}, kOther{11, 12, 13, 14, 15};

TEST(Reading, DevicesOfAnotherMachineAreRewritten) {
  models::BaseModel base = load_model(script_options("cuda_attributes"));  // this also runs the module itself
  EXPECT_EQ(evaluated(*base.model, {kLong}).sizes(), (std::vector<int64_t>{7, 48}));
}

TEST(Reading, TheVocabularyComesFromTheTableOfIds) {
  for (const char* module : {"long_positions", "one_hot", "lm_scripted", "tied_rows"}) {
    SCOPED_TRACE(module);
    EXPECT_EQ(load_model(script_options(module)).model->vocab_size(), 48);
  }
  models::BaseModel base = load_model(script_options("long_positions"));
  EXPECT_EQ(peft::input_embeddings(*base.model)->name(), "embed");
}

TEST(Reading, ParametersThatShareMemoryKeepTheirLayoutInAnotherDtype) {
  models::ModelOptions options = script_options("turned");
  const at::Tensor expected = evaluated(*load_model(options).model, {kLong});
  options.dtype = models::ComputeDtype::kBFloat16;
  test::expect_close(evaluated(*load_model(options).model, {kLong}), expected, 0.05);
}

/// In half precision one operation rounds a product and its sum with a bias only once.
TEST(Reading, ABiasOfAnotherModuleIsAddedByTheSameOperation) {
  models::ModelOptions options = script_options("tied_bias");
  options.dtype = models::ComputeDtype::kBFloat16;
  const models::BaseModel base = load_model(options);  // loading compares with the module, bit by bit
  EXPECT_TRUE(base.model->head()->tied());
}

TEST(Reading, TheHeadBelongsToTheChosenOutput) {
  models::ModelOptions options = script_options("two_heads");
  EXPECT_EQ(load_model(options).model->head()->name(), "last");
  options.output = "other";
  EXPECT_EQ(load_model(options).model->head()->name(), "other");
}

TEST(Reading, AnUndefinedTensorIsNotAnOutput) {
  const c10::IValue result = c10::ivalue::Tuple::create({c10::IValue(at::Tensor()), c10::IValue(at::ones({1}))});
  test::expect_error(ErrorKind::kConfig, {"model.output", "an undefined tensor"}, [&] { take_output(result, "0", "m.pt"); });
  EXPECT_EQ(take_output(result, "1", "m.pt").item<float>(), 1);
}

/// Logits of a training pass of samples from `first` on.
at::Tensor trained_hidden(const nn::Model& model, const std::vector<std::vector<int32_t>>& documents, int64_t first) {
  const nn::Batch batch = test::batch_of(documents, first);
  return model.body->hidden(nn::training_pass(batch, 7, 3)).detach();
}

/// Rows with dropout have the same results in one batch and in three.
TEST(Reading, DropoutDoesNotDependOnTheSplitIfLengthIsFirst) {
  models::BaseModel base = load_model(script_options("sequence_first"));
  peft::LoraOptions options = lora_on({"mix", "first", "head"});
  options.lora_dropout = 0.4;
  const auto method = peft::attach_adapter(options, *base.model, "base", 1);
  for (const nn::Parameter& parameter : method->parameters()) {
    parameter.tensor.detach().normal_();
  }
  const nn::Model& model = *base.model;
  const at::Tensor together = trained_hidden(model, {kLong, kShort, kOther}, 0);
  test::expect_close(
      together, at::cat({trained_hidden(model, {kLong}, 0), trained_hidden(model, {kShort}, 1), trained_hidden(model, {kOther}, 2)}), 1e-5);
  EXPECT_FALSE(at::allclose(together, evaluated(*base.model, {kLong, kShort, kOther}), 1e-2, 1e-2));
}

TEST(Reading, DropoutOfTheBaseDoesNotDependOnTheSplit) {
  for (const char* module : {"dropout_scripted", "dropout_attention"}) {
    SCOPED_TRACE(module);
    models::BaseModel base = load_model(script_options(module));
    const at::Tensor together = trained_hidden(*base.model, {kLong, kShort, kOther}, 0);
    const at::Tensor apart = at::cat({trained_hidden(*base.model, {kLong}, 0), trained_hidden(*base.model, {kShort, kOther}, 1)});
    test::expect_close(together, apart, 1e-5);
    EXPECT_FALSE(at::allclose(together, evaluated(*base.model, {kLong, kShort, kOther}), 1e-2, 1e-2));
    EXPECT_FALSE(at::allclose(together, trained_hidden(*base.model, {kLong, kShort, kOther}, 5), 1e-2, 1e-2));  // other samples
  }
}

/// Keeps the inputs that it observes.
class Inputs : public nn::InputObserver {
 public:
  void see(const nn::Linear& host, const at::Tensor& x_TI) override { seen[host.name()] = x_TI.clone(); }
  std::map<std::string, at::Tensor> seen;
};

TEST(Reading, ObserversOnlySeeTokens) {
  models::BaseModel base = load_model(script_options("sequence_first"));
  const auto look = [&base](const std::vector<std::vector<int32_t>>& documents) {
    Inputs inputs;
    const at::NoGradGuard no_grad;
    const nn::Batch batch = test::batch_of(documents);
    nn::Pass pass = nn::evaluation_pass(batch);
    pass.observer = &inputs;
    base.model->body->hidden(pass);
    return inputs.seen;
  };
  const std::map<std::string, at::Tensor> together = look({kLong, kShort});
  EXPECT_TRUE(at::equal(together.at("mix"), at::cat({look({kLong}).at("mix"), look({kShort}).at("mix")})));
  EXPECT_EQ(together.count("first"), 0);  // it has one row per document
  peft::LoraOptions options = lora_on({"mix", "first"});
  options.init = peft::LoraInit::kEva;
  peft::EvaPass eva(options, *base.model);
  test::expect_error(ErrorKind::kConfig, {"\"eva\" does not support 'first'", "one row per token"}, [&] {
    eva.add(test::batch_of({kLong, kOther, kShort}), at::arange(15));
  });
  models::BaseModel hidden = load_model(script_options("hidden"));
  options.target_modules.names = {"mix"};
  peft::EvaPass of_hidden(options, *hidden.model);
  test::expect_error(ErrorKind::kConfig, {"\"eva\" does not support 'mix'"}, [&] {
    of_hidden.add(test::batch_of({kLong, kOther, kShort}), at::arange(15));
  });
}

}  // namespace
}  // namespace lora::torchscript
