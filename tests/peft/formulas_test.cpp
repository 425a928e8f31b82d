// The formulas of IA3, VeRA, AdaLoRA, LoHa, LoKr, OFT, BOFT, HRA, MiSS and RandLoRA against PEFT's layers
// (scripts/golden/peft_formulas.py).
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lora/io/safetensors.h"
#include "lora/nn/pass.h"
#include "lora/ops/packed_weight.h"
#include "peft/formula.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/packed_rows.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_close;

template <typename Options>
std::shared_ptr<Formula> formula(const std::function<void(Options&)>& set) {
  Options options;
  set(options);
  return formula_of(options);
}

struct FormulaCase {
  std::string name;
  std::shared_ptr<Formula> formula;
};

std::vector<FormulaCase> factor_cases() {
  return {{"ia3", formula<Ia3Options>([](Ia3Options& o) { o.feedforward_modules = {ModuleChoice::Kind::kList, {"tall"}, ""}; })},
          {"vera", formula<VeraOptions>([](VeraOptions& o) { o.r = 6, o.projection_prng_key = 7; })},
          {"randlora", formula<RandLoraOptions>([](RandLoraOptions& o) { o.r = 5, o.randlora_alpha = 10, o.projection_prng_key = 3; })}};
}

std::vector<FormulaCase> delta_cases() {
  return {{"loha", formula<LohaOptions>([](LohaOptions& o) {
             o.r = 3, o.alpha = 5;
             o.rank_pattern = {{"tall", 2}};
             o.alpha_pattern = {{"plain", 7}};
           })},
          {"adalora", formula<AdaLoraOptions>([](AdaLoraOptions& o) { o.init_r = 3, o.target_r = 2, o.lora_alpha = 5; })},
          {"lokr", formula<LokrOptions>([](LokrOptions& o) { o.r = 1, o.alpha = 3; })},
          {"lokr_whole", formula<LokrOptions>([](LokrOptions& o) { o.r = 8, o.alpha = 4, o.decompose_factor = 4; })},
          {"lokr_both", formula<LokrOptions>([](LokrOptions& o) { o.r = 1, o.alpha = 3, o.decompose_both = true; })},
          {"miss", formula<MissOptions>([](MissOptions& o) { o.r = 5; })},
          {"miss_mini", formula<MissOptions>([](MissOptions& o) { o.r = 4, o.mini_r = 2, o.kind = MissKind::kMini; })},
          {"miss_bat", formula<MissOptions>([](MissOptions& o) { o.r = 4, o.kind = MissKind::kBat; })}};
}

std::vector<FormulaCase> rotation_cases() {
  return {{"oft", formula<OftOptions>([](OftOptions& o) { o.oft_block_size = 4; })},
          {"oft_three_terms", formula<OftOptions>([](OftOptions& o) { o.oft_block_size = 4, o.num_cayley_neumann_terms = 3; })},
          {"oft_seven_terms", formula<OftOptions>([](OftOptions& o) { o.oft_block_size = 5, o.num_cayley_neumann_terms = 7; })},
          {"oft_exact", formula<OftOptions>([](OftOptions& o) { o.r = 4, o.oft_block_size = 0, o.use_cayley_neumann = false; })},
          {"oft_shared", formula<OftOptions>([](OftOptions& o) { o.oft_block_size = 4, o.block_share = true; })},
          {"boft", formula<BoftOptions>([](BoftOptions& o) { o.boft_block_size = 4; })},
          {"boft_number", formula<BoftOptions>([](BoftOptions& o) { o.boft_block_size = 0, o.boft_block_num = 2; })},
          {"hra", formula<HraOptions>([](HraOptions& o) { o.r = 4; })},
          {"hra_gs", formula<HraOptions>([](HraOptions& o) { o.r = 4, o.apply_GS = true; })}};
}

std::vector<FormulaCase> all_cases() {
  std::vector<FormulaCase> all = factor_cases();
  for (const std::vector<FormulaCase>& more : {delta_cases(), rotation_cases()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

const io::SafetensorsFile& formulas_file() {
  static const io::SafetensorsFile kFile(test::kData / "peft_formulas/formulas.safetensors");
  return kFile;
}

/// One adapted layer of the file. Its weight is stored as [in, out] if it is "turned" (Conv1D).
struct Layer {
  Layer(const std::string& case_name, std::string module) : module(std::move(module)), prefix(case_name + "." + this->module + ".") {
    for (const std::string& name : formulas_file().names()) {
      if (name.starts_with(prefix + "part.")) {
        parts[name.substr(prefix.size() + 5)] = test::trained(formulas_file().tensor(name));
      }
    }
    bias_O = has("bias") ? std::optional(get("bias")) : std::nullopt;
  }

  Tensor get(const std::string& what) const { return formulas_file().tensor(prefix + what); }
  bool has(const std::string& what) const {
    const std::vector<std::string> names = formulas_file().names();
    return std::find(names.begin(), names.end(), prefix + what) != names.end();
  }
  bool is_turned() const { return module == "turned"; }
  std::shared_ptr<const ops::LinearWeight> weight() const {
    return std::make_shared<const ops::DenseWeight>(get("weight"), is_turned() ? ops::WeightLayout::kInOut : ops::WeightLayout::kOutIn);
  }
  ProjectionFacts facts() const { return {module, weight()->in_features(), weight()->out_features()}; }

  std::string module, prefix;
  PartTensors parts;
  std::optional<Tensor> bias_O;
};

std::vector<Layer> layers_of(const std::string& case_name) {
  std::vector<Layer> layers;
  for (const char* module : {"wide", "tall", "plain", "turned"}) {
    Layer layer(case_name, module);
    if (layer.has("x")) {
      layers.push_back(std::move(layer));
    }
  }
  return layers;
}

/// Like PEFT, each case draws what its layers share.
void draw_shared(const FormulaCase& c, const std::vector<Layer>& layers) {
  std::vector<ProjectionFacts> all;
  for (const Layer& layer : layers) {
    all.push_back(layer.facts());
  }
  c.formula->create_shared(all);
}

nn::Pass pass_of(int64_t tokens) {
  return nn::evaluation_pass(test::batch_of(test::documents_of({tokens}, 11)));
}

TEST(Formulas, OutputsAndGradientsAreThoseOfPeft) {
  for (const FormulaCase& c : all_cases()) {
    const std::vector<Layer> layers = layers_of(c.name);
    ASSERT_GE(layers.size(), 3U) << c.name;
    draw_shared(c, layers);
    for (const Layer& layer : layers) {
      const auto change = c.formula->change(layer.module, layer.parts);
      const Tensor x_TI = test::trained(layer.get("x"));
      const nn::Pass pass = pass_of(x_TI.size(0));
      const Tensor y_TO = change->project({x_TI, pass, 1, layer.weight(), layer.bias_O}, {});
      expect_close(y_TO, layer.get("y"), 2e-6, layer.prefix + "y");
      y_TO.backward(layer.get("dy"));
      expect_close(x_TI.grad(), layer.get("dx"), 5e-6, layer.prefix + "dx");
      EXPECT_EQ(change->tensors().size(), layer.parts.size()) << layer.prefix;
      for (const io::NamedTensor& part : change->tensors()) {
        expect_close(part.tensor.grad(), layer.get("d:" + part.name), 5e-6, layer.prefix + part.name);
      }
    }
  }
}

TEST(Formulas, MergedWeightsAreThoseOfPeft) {
  for (const FormulaCase& c : all_cases()) {
    const std::vector<Layer> layers = layers_of(c.name);
    draw_shared(c, layers);
    for (const Layer& layer : layers) {
      const auto change = c.formula->change(layer.module, layer.parts);
      const Tensor merged_OI = change->merged_weight(layer.weight()->dequantised());
      expect_close(layer.is_turned() ? merged_OI.t() : merged_OI, layer.get("merged_weight"), 5e-6, layer.prefix);
      if (layer.bias_O) {
        const Tensor bias_O = change->merged_bias(*layer.bias_O);
        expect_close(bias_O, layer.get("merged_bias"), 1e-6, layer.prefix + "bias");
        EXPECT_EQ(change->changes_bias(), !bias_O.equal(*layer.bias_O)) << layer.prefix;
      }
    }
  }
}

/// The change for itself, with its weight's delta, and as a second adapter's on one host.
TEST(Formulas, AppliesBesideAnotherAttachment) {
  for (const FormulaCase& c : all_cases()) {
    const std::vector<Layer> layers = layers_of(c.name);
    draw_shared(c, layers);
    for (const Layer& layer : layers) {
      const auto change = c.formula->change(layer.module, layer.parts);
      const Tensor x_TI = layer.get("x");
      const nn::Pass pass = pass_of(x_TI.size(0));
      const nn::ProjectionCall call{x_TI, pass, 1, layer.weight(), layer.bias_O};
      expect_close(change->project(call, call.base()), layer.get("y"), 5e-6, layer.prefix);
    }
  }
}

TEST(Formulas, PartsHavePeftsShapes) {
  for (const FormulaCase& c : all_cases()) {
    for (const Layer& layer : layers_of(c.name)) {
      std::map<std::string, std::vector<int64_t>> shapes;
      for (const FormulaPart& part : c.formula->parts(layer.facts())) {
        shapes[part.name] = part.shape;
      }
      ASSERT_EQ(shapes.size(), layer.parts.size()) << layer.prefix;
      for (const auto& [name, tensor] : layer.parts) {
        EXPECT_EQ(shapes[name], tensor.sizes().vec()) << layer.prefix << name;
      }
    }
  }
}

TEST(Formulas, SharedTensorsAreDrawnAsByPeft) {
  for (const FormulaCase& c : factor_cases()) {
    draw_shared(c, layers_of(c.name));
    EXPECT_EQ(c.formula->shared().size(), c.name == "ia3" ? 0U : 2U);
    for (const io::NamedTensor& shared : c.formula->shared()) {
      test::expect_equal(shared.tensor, formulas_file().tensor(c.name + ".shared." + shared.name), c.name + " " + shared.name);
    }
  }
}

TEST(Formulas, SharedTensorsAreTakenFromAFile) {
  for (const FormulaCase& c : factor_cases()) {
    draw_shared(c, layers_of(c.name));
    PartTensors stored;
    for (const io::NamedTensor& shared : c.formula->shared()) {
      stored[shared.name] = shared.tensor.clone();
    }
    c.formula->take_shared(stored);
    for (const io::NamedTensor& shared : c.formula->shared()) {
      test::expect_equal(shared.tensor, stored.at(shared.name));
      PartTensors flat = stored, fewer = stored;
      flat[shared.name] = shared.tensor.flatten();
      fewer.erase(shared.name);
      test::expect_error(ErrorKind::kModel, {"base_model." + shared.name, "missing"}, [&] { c.formula->take_shared(fewer); });
      test::expect_error(ErrorKind::kModel, {"base_model." + shared.name, "dimensions"}, [&] { c.formula->take_shared(flat); });
    }
  }
}

PartTensors started(const Formula& formula, const ProjectionFacts& facts, uint64_t seed) {
  PartTensors tensors;
  for (const FormulaPart& part : formula.parts(facts)) {
    tensors[part.name] = at::empty(part.shape, at::kFloat);
    part.start(tensors[part.name], at::detail::createCPUGenerator(seed));
  }
  return tensors;
}

TEST(Formulas, StartAsTheUnchangedModel) {
  for (const FormulaCase& c : all_cases()) {
    const std::vector<Layer> layers = layers_of(c.name);
    draw_shared(c, layers);
    for (const Layer& layer : layers) {
      const Tensor x_TI = layer.get("x");
      const nn::Pass pass = pass_of(x_TI.size(0));
      const nn::ProjectionCall call{x_TI, pass, 1, layer.weight(), layer.bias_O};
      const auto change = c.formula->change(layer.module, started(*c.formula, layer.facts(), 5));
      const Tensor y_TO = change->project(call, {});
      if (c.name == "hra_gs") {  // directions that cancel cannot be orthonormalised
        EXPECT_TRUE(at::isfinite(y_TO).all().item<bool>());
      } else {
        expect_close(y_TO, call.base(), 1e-6, layer.prefix);
      }
    }
  }
}

TEST(Formulas, APackedWeightGivesWhatItsNumbersGive) {
  for (const FormulaCase& c : all_cases()) {
    const std::vector<Layer> layers = layers_of(c.name);
    draw_shared(c, layers);
    for (const Layer& layer : layers) {
      const ProjectionFacts facts = layer.facts();
      const auto matrix = std::make_shared<const test::PackedRows>(facts.outputs, facts.inputs, 3);
      const auto packed = std::make_shared<const ops::PackedWeight>(matrix, at::kFloat);
      const auto dense = std::make_shared<const ops::DenseWeight>(packed->dequantised());
      std::vector<Tensor> outputs, gradients;
      for (const std::shared_ptr<const ops::LinearWeight>& weight : std::vector<std::shared_ptr<const ops::LinearWeight>>{packed, dense}) {
        const Tensor x_TI = test::trained(layer.get("x"));
        const nn::Pass pass = pass_of(x_TI.size(0));
        outputs.push_back(c.formula->change(layer.module, layer.parts)->project({x_TI, pass, 1, weight, layer.bias_O}, {}));
        outputs.back().backward(layer.get("dy"));
        gradients.push_back(x_TI.grad());
      }
      expect_close(outputs[0], outputs[1], 5e-6, layer.prefix);
      expect_close(gradients[0], gradients[1], 5e-6, layer.prefix);
    }
  }
}

/// Dropout is a function of the tokens' keys: a part of the batch gives the same rows.
TEST(Formulas, DropoutDoesNotDependOnTheBatch) {
  const auto miss = formula<MissOptions>([](MissOptions& o) { o.r = 5, o.miss_dropout = 0.4; });
  const Layer layer("miss", "wide");
  const auto change = miss->change(layer.module, layer.parts);
  const Tensor x_TI = layer.get("x");
  const nn::Pass whole = nn::training_pass(test::batch_of(test::documents_of({3, 2}, 11)), 7, 3);
  const Tensor y_TO = change->project({x_TI, whole, 1, layer.weight(), layer.bias_O}, {});
  const nn::Pass part = nn::training_pass(test::batch_of({test::documents_of({3, 2}, 11)[1]}), 7, 3);
  const Tensor own_TO = change->project({x_TI.slice(0, 3), part, 1, layer.weight(), layer.bias_O}, {});
  expect_close(own_TO, y_TO.slice(0, 3), 1e-6);
  EXPECT_GT((y_TO - layer.get("y")).abs().max().item<double>(), 1e-3) << "nothing was dropped";
}

TEST(Formulas, BlocksThatDoNotFitAreErrors) {
  const auto boft = formula<BoftOptions>([](BoftOptions& o) { o.boft_block_size = 5; });
  test::expect_error(ErrorKind::kConfig, {"adapter.boft_block_size", "found 5", "q_proj"}, [&] { boft->parts({"q_proj", 12, 8}); });
  const auto number = formula<BoftOptions>([](BoftOptions& o) { o.boft_block_size = 0, o.boft_block_num = 7; });
  test::expect_error(ErrorKind::kConfig, {"adapter.boft_block_num", "found 7"}, [&] { number->parts({"q_proj", 12, 8}); });
  const auto bat = formula<MissOptions>([](MissOptions& o) { o.r = 4, o.kind = MissKind::kBat; });
  test::expect_error(ErrorKind::kConfig, {"adapter.r", "found 4", "inputs"}, [&] { bat->parts({"q_proj", 13, 8}); });
  test::expect_error(ErrorKind::kConfig, {"adapter.r", "found 4", "outputs"}, [&] { bat->parts({"q_proj", 12, 9}); });
  const auto mini = formula<MissOptions>([](MissOptions& o) { o.mini_r = 3, o.kind = MissKind::kMini; });
  test::expect_error(ErrorKind::kConfig, {"adapter.mini_r", "found 3", "outputs"}, [&] { mini->parts({"q_proj", 12, 8}); });
}

}  // namespace
}  // namespace lora::peft
