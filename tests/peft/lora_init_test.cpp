// Initialisations that use the base weight, and the residual that they leave. The random ones are in lora_test.cpp.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/peft/method.h"
#include "support/adapted_hosts.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::adapted_hosts;
using test::effective_weight;
using test::expect_equal;
using test::expect_error;
using test::expect_near;
using test::TemporaryFolder;
using test::tiny_llama;

LoraOptions starting(LoraInit init, std::vector<std::string> targets = {"q_proj", "k_proj", "down_proj"}) {
  LoraOptions options;
  options.r = 4;
  options.lora_alpha = 6;
  options.target_modules = {ModuleChoice::Kind::kList, std::move(targets), ""};
  options.init = init;
  return options;
}

/// The base weight of a host in an unchanged model with the same seed.
at::Tensor untouched(const nn::Linear& host, const Json& changes = Json::object()) {
  const models::BaseModel base = tiny_llama(changes);
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    if (parameter.name == host.name() + ".weight") {
      return parameter.tensor.clone();
    }
  }
  throw std::out_of_range(host.name());
}

at::Tensor singular_values(const at::Tensor& matrix) {
  return at::linalg_svdvals(matrix.detach().to(at::kDouble));
}

at::Tensor update(const nn::Linear& host) {
  const nn::LowRank& attached = *host.attached<nn::LowRank>().at(0);
  return attached.scale * attached.B_OR.detach().matmul(attached.A_RI.detach());
}

/// Changes every parameter, as training does.
void train_a_little(const Method& method) {
  const at::NoGradGuard no_grad;
  uint64_t seed = 0;
  for (const nn::Parameter& parameter : method.parameters()) {
    parameter.tensor.add_(0.1 * test::normal(parameter.tensor.sizes().vec(), ++seed, at::kFloat));
  }
}

TEST(OrthogonalStart, LeavesTheModelUnchangedAlthoughNeitherFactorIsZero) {
  const models::BaseModel base = tiny_llama();
  const std::vector<nn::Parameter> before = test::copies(base.model->base_parameters());
  const auto method = attach_adapter(starting(LoraInit::kOrthogonal), *base.model, "base", 1);
  for (const nn::Linear* host : adapted_hosts(*base.model)) {
    const nn::LowRank& attached = *host->attached<nn::LowRank>().at(0);
    EXPECT_LE(update(*host).abs().max().item<double>(), 1e-7) << host->name();
    for (const at::Tensor& factor : {attached.A_RI, attached.B_OR}) {
      const at::Tensor values = singular_values(factor);
      EXPECT_GT(values[1].item<double>(), 0.05) << host->name();  // each factor spans two of the four directions
      EXPECT_LT(values[2].item<double>(), 1e-6) << host->name();
    }
    // The entries of PEFT's factors have a standard deviation of sqrt(1/2) / 10.
    EXPECT_NEAR(attached.A_RI.std().item<double>(), 0.0707, 0.03) << host->name();
  }
  for (size_t i = 0; i < before.size(); ++i) {
    expect_equal(base.model->base_parameters()[i].tensor, before[i].tensor, before[i].name);
  }
  const models::BaseModel second = tiny_llama(), third = tiny_llama();
  const auto same = attach_adapter(starting(LoraInit::kOrthogonal, {"k_proj"}), *second.model, "base", 1);
  const auto other = attach_adapter(starting(LoraInit::kOrthogonal, {"k_proj"}), *third.model, "base", 2);
  expect_equal(same->parameters()[0].tensor.detach(), method->parameters()[2].tensor.detach(), method->parameters()[2].name);
  EXPECT_FALSE(at::equal(other->parameters()[1].tensor, same->parameters()[1].tensor));
}

TEST(OrthogonalStart, NeedsAnEvenRank) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = starting(LoraInit::kOrthogonal);
  options.r = 3;
  expect_error(ErrorKind::kConfig, {"adapter.init_lora_weights", "even rank", "found r 3 for model.layers.0.self_attn.q_proj"},
               [&] { attach_adapter(options, *base.model, "base", 1); });
  options.r = 4;
  options.rank_pattern = {{"down_proj", 5}};
  expect_error(ErrorKind::kConfig, {"found r 5 for model.layers.0.mlp.down_proj"},
               [&] { attach_adapter(options, *base.model, "base", 1); });
}

TEST(PissaStart, MovesTheLargestSingularValuesOutOfTheWeight) {
  for (const int64_t niter : {0, 400}) {
    for (const bool rslora : {false, true}) {
      const models::BaseModel base = tiny_llama();
      LoraOptions options = starting(LoraInit::kPissa);
      options.use_rslora = rslora;
      options.pissa_niter = niter;
      const auto method = attach_adapter(options, *base.model, "base", 1);
      for (const nn::Linear* host : adapted_hosts(*base.model)) {
        const at::Tensor weight_OI = untouched(*host);
        const at::Tensor all = singular_values(weight_OI);
        expect_near(effective_weight(*host), weight_OI, 1e-6, host->name());
        const double tolerance = niter == 0 ? 1e-5 : 1e-4;
        expect_near(singular_values(update(*host)).slice(0, 0, 4), all.slice(0, 0, 4), tolerance, host->name());
        expect_near(singular_values(host->weight()).slice(0, 0, 1), all.slice(0, 4, 5), tolerance, host->name());
        const nn::LowRank& pair = *host->attached<nn::LowRank>().at(0);
        const at::Tensor A_RI = pair.A_RI.detach(), B_OR = pair.B_OR.detach();
        const at::Tensor halves = at::diag(all.slice(0, 0, 4) / pair.scale);
        expect_near(A_RI.matmul(A_RI.t()), halves, tolerance, host->name());
        expect_near(B_OR.t().matmul(B_OR), halves, tolerance, host->name());
      }
    }
  }
}

TEST(PissaStart, RandomizedSvdIsAFunctionOfSeedAndName) {
  LoraOptions options = starting(LoraInit::kPissa);
  options.pissa_niter = 1;
  const models::BaseModel first = tiny_llama(), second = tiny_llama(), third = tiny_llama();
  const auto one = attach_adapter(options, *first.model, "base", 1);
  options.target_modules.names = {"down_proj"};
  const auto fewer = attach_adapter(options, *second.model, "base", 1);
  const auto other = attach_adapter(options, *third.model, "base", 2);
  expect_equal(fewer->parameters()[0].tensor.detach(), one->parameters()[4].tensor.detach(), one->parameters()[4].name);
  EXPECT_FALSE(at::equal(other->parameters()[0].tensor, fewer->parameters()[0].tensor));
  expect_near(effective_weight(*adapted_hosts(*third.model)[0]), untouched(*adapted_hosts(*third.model)[0]), 1e-6);
}

TEST(OloraStart, MovesTheFirstColumnsOfQOutOfTheWeight) {
  const models::BaseModel base = tiny_llama();
  const auto method = attach_adapter(starting(LoraInit::kOlora), *base.model, "base", 1);
  for (const nn::Linear* host : adapted_hosts(*base.model)) {
    const at::Tensor weight_OI = untouched(*host);
    const nn::LowRank& attached = *host->attached<nn::LowRank>().at(0);
    expect_near(effective_weight(*host), weight_OI, 1e-6, host->name());
    expect_near(attached.B_OR.t().matmul(attached.B_OR), at::eye(4), 1e-6, host->name());
    // B A is the projection of W onto the columns of B, which span the first columns of W.
    expect_near(attached.B_OR.matmul(attached.A_RI), attached.B_OR.matmul(attached.B_OR.t()).matmul(weight_OI), 1e-6, host->name());
    expect_near(attached.B_OR.matmul(attached.A_RI).slice(1, 0, 4), weight_OI.slice(1, 0, 4), 1e-6, host->name());
  }
}

TEST(Residuals, AreRoundedOnceToTheWeightsDtype) {
  const Json half{{"torch_dtype", "bfloat16"}};
  for (const LoraInit init : {LoraInit::kPissa, LoraInit::kOlora}) {
    const models::BaseModel base = tiny_llama(half);
    ASSERT_EQ(base.model->dtype(), at::kBFloat16);
    const auto method = attach_adapter(starting(init), *base.model, "base", 1);
    for (const nn::Linear* host : adapted_hosts(*base.model)) {
      const nn::LowRank& attached = *host->attached<nn::LowRank>().at(0);
      const at::Tensor product = (attached.B_OR.detach() * attached.scale).matmul(attached.A_RI.detach());
      expect_equal(host->weight(), (untouched(*host, half).to(at::kFloat) - product).to(at::kBFloat16), host->name());
    }
  }
}

TEST(Residuals, TheFileFitsTheUntouchedBase) {
  for (const bool rslora : {false, true}) {
    const models::BaseModel base = tiny_llama();
    LoraOptions options = starting(LoraInit::kPissa);
    options.use_rslora = rslora;
    if (!rslora) {
      options.rank_pattern = {{"k_proj", 3}};
      options.alpha_pattern = {{"down_proj", 10}};
    }
    const auto method = attach_adapter(options, *base.model, "base", 1);
    train_a_little(*method);
    const TemporaryFolder folder;
    method->save(folder.path());

    const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
    EXPECT_EQ(config["init_lora_weights"], true);
    EXPECT_EQ(config["r"], 8);
    EXPECT_DOUBLE_EQ(config["lora_alpha"].get<double>(), rslora ? 6 * std::sqrt(2.0) : 12);
    EXPECT_EQ(config["rank_pattern"], rslora ? Json::object() : Json({{"k_proj", 6}}));
    EXPECT_EQ(config["alpha_pattern"], rslora ? Json::object() : Json({{"down_proj", 20}}));

    LoraOptions plain = starting(LoraInit::kDefault);
    plain.r = 8;
    plain.lora_alpha = config["lora_alpha"].get<double>();
    plain.use_rslora = rslora;
    plain.rank_pattern =
        rslora ? std::vector<std::pair<std::string, int64_t>>{} : std::vector{std::pair<std::string, int64_t>{"k_proj", 6}};
    plain.alpha_pattern =
        rslora ? std::vector<std::pair<std::string, double>>{} : std::vector{std::pair<std::string, double>{"down_proj", 20}};
    plain.init_from = folder.path();
    const models::BaseModel fresh = tiny_llama();
    attach_adapter(plain, *fresh.model, "base", 1);
    const std::vector<nn::Linear*> ours = adapted_hosts(*base.model), theirs = adapted_hosts(*fresh.model);
    ASSERT_EQ(ours.size(), theirs.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      expect_near(effective_weight(*theirs[i]), effective_weight(*ours[i]), 1e-6, ours[i]->name());
    }
  }
}

TEST(Residuals, DoraKeepsItsMagnitudes) {
  // PEFT's own conversion omits them.
  const models::BaseModel base = tiny_llama(), fresh = tiny_llama();
  LoraOptions options = starting(LoraInit::kPissa);
  options.use_dora = true;
  const nn::Batch batch = test::batch_of(test::documents_of({7, 5}, 50));
  const at::NoGradGuard no_grad;
  const at::Tensor untrained_TD = base.model->body->hidden(nn::evaluation_pass(batch));
  const auto method = attach_adapter(options, *base.model, "base", 1);
  expect_near(base.model->body->hidden(nn::evaluation_pass(batch)), untrained_TD, 1e-5, "a start that is no change");
  train_a_little(*method);
  const TemporaryFolder folder;
  method->save(folder.path());
  LoraOptions plain = starting(LoraInit::kDefault);
  plain.use_dora = true;
  plain.r = 8;
  plain.lora_alpha = 12;
  plain.init_from = folder.path();
  attach_adapter(plain, *fresh.model, "base", 1);
  const at::Tensor trained_TD = base.model->body->hidden(nn::evaluation_pass(batch));
  EXPECT_GT((trained_TD - untrained_TD).abs().max().item<double>(), 0.1);
  expect_near(fresh.model->body->hidden(nn::evaluation_pass(batch)), trained_TD, 1e-5, "the file on the untouched base");
}

TEST(Residuals, ARunResumesBitForBitFromTheFile) {
  for (const LoraInit init : {LoraInit::kPissa, LoraInit::kOlora}) {
    const models::BaseModel base = tiny_llama(), again = tiny_llama();
    const auto method = attach_adapter(starting(init), *base.model, "base", 1);
    train_a_little(*method);
    const TemporaryFolder folder;
    method->save(folder.path());
    const auto resumed = attach_adapter(starting(init), *again.model, "base", 1);
    resumed->load(folder.path());
    for (size_t i = 0; i < method->parameters().size(); ++i) {
      expect_equal(resumed->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach(), method->parameters()[i].name);
    }
    for (size_t i = 0; i < base.model->base_parameters().size(); ++i) {
      expect_equal(again.model->base_parameters()[i].tensor, base.model->base_parameters()[i].tensor);
    }
  }
}

TEST(Residuals, AFileWithAnotherStartRestoresItsResidual) {
  LoraOptions options = starting(LoraInit::kPissa);
  options.pissa_niter = 1;
  const models::BaseModel base = tiny_llama(), again = tiny_llama();
  const auto method = attach_adapter(options, *base.model, "base", 1);
  train_a_little(*method);
  const TemporaryFolder folder, second;
  method->save(folder.path());
  const auto elsewhere = attach_adapter(options, *again.model, "base", 2);  // another seed simulates another machine
  elsewhere->load(folder.path());
  const std::vector<nn::Linear*> ours = adapted_hosts(*base.model), theirs = adapted_hosts(*again.model);
  for (size_t i = 0; i < ours.size(); ++i) {
    expect_near(effective_weight(*theirs[i]), effective_weight(*ours[i]), 1e-6, ours[i]->name());
    expect_near(theirs[i]->weight(), ours[i]->weight(), 1e-6, ours[i]->name());
  }
  elsewhere->save(second.path());
  EXPECT_EQ(sha256_of_file(second / "adapter_model.safetensors", ErrorKind::kModel),
            sha256_of_file(folder / "adapter_model.safetensors", ErrorKind::kModel));
}

TEST(Residuals, AnUnconvertedAdapterOfPeftCanBeContinued) {
  // Such a file contains only A and B: PEFT decomposes the base again when it loads the file.
  const models::BaseModel base = tiny_llama(), again = tiny_llama();
  const auto method = attach_adapter(starting(LoraInit::kPissa), *base.model, "base", 1);
  train_a_little(*method);
  std::vector<io::NamedTensor> raw;
  for (const nn::Parameter& parameter : method->parameters()) {
    raw.push_back({"base_model.model." + parameter.name, parameter.tensor.detach()});
  }
  const TemporaryFolder folder;
  io::save_tensors(folder / "adapter_model.safetensors", raw);
  LoraOptions options = starting(LoraInit::kPissa);
  options.init_from = folder.path();
  const auto continued = attach_adapter(options, *again.model, "base", 1);
  const std::vector<nn::Linear*> ours = adapted_hosts(*base.model), theirs = adapted_hosts(*again.model);
  for (size_t i = 0; i < ours.size(); ++i) {
    expect_near(effective_weight(*theirs[i]), effective_weight(*ours[i]), 1e-6, ours[i]->name());
  }
  // load() refuses it, because save() writes twice the rank.
  expect_error(ErrorKind::kModel, {"of another shape", "[4, 16] instead of [8, 16]"}, [&] { continued->load(folder.path()); });
}

TEST(Residuals, UnsupportedWeightsAreErrors) {
  const auto fails = [](const LoraOptions& options, const Json& changes, const std::vector<std::string>& parts) {
    const models::BaseModel base = tiny_llama(changes);
    const std::vector<nn::Parameter> before = test::copies(base.model->base_parameters());
    expect_error(ErrorKind::kConfig, parts, [&] { attach_adapter(options, *base.model, "base", 1); });
    for (size_t i = 0; i < before.size(); ++i) {
      expect_equal(base.model->base_parameters()[i].tensor, before[i].tensor, before[i].name);
    }
  };
  for (const LoraInit init : {LoraInit::kPissa, LoraInit::kOlora}) {
    LoraOptions options = starting(init, {"k_proj"});
    options.r = 9;
    fails(options, Json::object(),
          {"adapter.init_lora_weights", "found r 9 for model.layers.0.self_attn.k_proj", "at most the smaller of its dimensions, 8"});
    fails(starting(init, {"lm_head"}), Json{{"tie_word_embeddings", true}}, {"adapter.init_lora_weights", "lm_head", "embedding"});
  }
  const models::BaseModel base = tiny_llama();
  {
    const at::NoGradGuard no_grad;
    for (const nn::Parameter& parameter : base.model->base_parameters()) {
      parameter.tensor.view(-1)[3] = NAN;
    }
  }
  expect_error(ErrorKind::kModel, {"model.layers.0.self_attn.q_proj.weight", "not finite"},
               [&] { attach_adapter(starting(LoraInit::kPissa), *base.model, "base", 1); });
}

}  // namespace
}  // namespace lora::peft
