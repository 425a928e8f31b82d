#include "lora/peft/eva.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "adapters.h"
#include "support/adapted_hosts.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/temporary_folder.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::expect_near;
using test::Golden;
using test::load_folder;

/// The adapter section of the case's run.json.
LoraOptions golden_options() {
  LoraOptions options;
  options.r = 1;
  options.lora_alpha = 5;
  options.target_modules = {ModuleChoice::Kind::kList, {"q_proj", "k_proj", "v_proj", "o_proj", "down_proj"}, ""};
  options.rank_pattern = {{"o_proj", 2}};
  options.init = LoraInit::kEva;
  options.eva.rho = 3.0;
  return options;
}

/// The positions that have a label.
at::Tensor labelled(const std::vector<test::Document>& documents) {
  std::vector<int64_t> positions;
  int64_t position = 0;
  for (const test::Document& document : documents) {
    for (const int32_t label : document.labels) {
      if (label != nn::kIgnoreLabel) {
        positions.push_back(position);
      }
      ++position;
    }
  }
  return at::tensor(positions, at::kLong);
}

/// Feeds the rows of the case to the pass, two at a time, until it converges. Returns the number of batches before that.
int64_t look_at(const std::vector<test::Document>& rows, EvaPass& pass) {
  for (int64_t i = 0; i < 1000; ++i) {
    const size_t begin = 2 * static_cast<size_t>(i) % rows.size();
    const std::vector<test::Document> documents(rows.begin() + begin, rows.begin() + std::min(begin + 2, rows.size()));
    if (pass.add(test::batch_of(documents), labelled(documents))) {
      return i;
    }
  }
  ADD_FAILURE() << "the pass does not converge";
  return -1;
}

EvaStart start_of(const LoraOptions& options) {
  const Golden golden("eva");
  const models::BaseModel base = load_folder(golden.folder / "model");
  EvaPass pass(options, *base.model);
  look_at(golden.rows("rows.jsonl"), pass);
  return pass.start();
}

TEST(Eva, RanksAndDirectionsEqualPefts) {
  const Golden golden("eva");
  const io::SafetensorsFile expected = golden.tensors();
  const EvaStart start = start_of(golden_options());
  const std::string layer = "model.layers.";
  EXPECT_EQ(start.options.rank_pattern,
            (std::vector<std::pair<std::string, int64_t>>{{layer + "1.self_attn.q_proj", 2}, {layer + "1.self_attn.o_proj", 3}}));
  EXPECT_EQ(start.options.alpha_pattern,
            (std::vector<std::pair<std::string, double>>{
                {layer + "0.self_attn.o_proj", 2.5}, {layer + "1.self_attn.q_proj", 10.0}, {layer + "1.self_attn.o_proj", 7.5}}));
  EXPECT_EQ(start.options.target_modules.names.size(), 9U);  // layer 0's down_proj is left without any rank
  EXPECT_EQ(start.A.size(), 9U);

  const models::BaseModel base = load_folder(golden.folder / "model");
  const auto method = attach_eva(start, *base.model, "base", 1);
  int64_t compared = 0;
  for (const nn::Parameter& parameter : method->parameters()) {
    const std::string key = "start.base_model.model." + parameter.name;
    ASSERT_TRUE(expected.contains(key)) << key;
    expect_near(parameter.tensor, expected.tensor(key), 1e-5, key);
    ++compared;
  }
  EXPECT_EQ(compared, 18);
}

TEST(Eva, OptionsHaveTheirEffect) {
  LoraOptions options = golden_options();
  const EvaStart plain = start_of(options);
  options.eva.adjust_scaling_factors = false;
  options.eva.whiten = true;
  const EvaStart white = start_of(options);
  EXPECT_TRUE(white.options.alpha_pattern.empty());
  EXPECT_EQ(white.options.rank_pattern, plain.options.rank_pattern);
  for (size_t i = 0; i < plain.A.size(); ++i) {
    const at::Tensor lengths = white.A[i].tensor.norm(2, {1}, true);
    expect_near(white.A[i].tensor / lengths, plain.A[i].tensor, 1e-5, plain.A[i].name);
    EXPECT_TRUE(lengths.diff(1, 0).gt(0).all().item<bool>()) << plain.A[i].name;  // weaker directions are scaled up more
  }
  // With rho 1 there is no rank to redistribute.
  options.eva.rho = 1.0;
  EXPECT_EQ(start_of(options).options.rank_pattern,
            (std::vector<std::pair<std::string, int64_t>>{{"model.layers.0.self_attn.o_proj", 2}, {"model.layers.1.self_attn.o_proj", 2}}));
}

TEST(Eva, ARunResumesWithTheRanksOfItsFile) {
  const Golden golden("eva");
  const EvaStart start = start_of(golden_options());
  const models::BaseModel base = load_folder(golden.folder / "model"), again = load_folder(golden.folder / "model");
  const auto method = attach_eva(start, *base.model, "base", 1);
  const test::TemporaryFolder folder;
  method->save(folder.path());
  const Json config = read_json(folder / "adapter_config.json", ErrorKind::kModel);
  EXPECT_EQ(config["init_lora_weights"], true);
  EXPECT_FALSE(config.contains("eva_config"));
  EXPECT_EQ(config["target_modules"].size(), 9U);

  const LoraOptions options = eva_options(golden_options(), *again.model, folder.path());
  EXPECT_EQ(options.rank_pattern, start.options.rank_pattern);
  EXPECT_EQ(options.alpha_pattern, start.options.alpha_pattern);
  const auto resumed = attach_adapter(options, *again.model, "base", 1);
  resumed->load(folder.path());
  for (size_t i = 0; i < method->parameters().size(); ++i) {
    expect_equal(resumed->parameters()[i].tensor.detach(), method->parameters()[i].tensor.detach(), method->parameters()[i].name);
  }
  const test::TemporaryFolder empty;
  expect_error(ErrorKind::kModel, {"not an adapter folder"}, [&] { eva_options(golden_options(), *again.model, empty.path()); });
}

TEST(Eva, AHeadCanBeATarget) {
  const models::BaseModel base = test::tiny_llama();
  LoraOptions options = golden_options();
  options.target_modules.names = {"lm_head"};
  options.r = 2;
  EvaPass pass(options, *base.model);
  std::vector<test::Document> rows = test::documents_of({20, 30, 25, 18}, 50);
  for (test::Document& row : rows) {
    row.labels = row.ids;
  }
  look_at(rows, pass);
  const EvaStart start = pass.start();
  ASSERT_EQ(start.A.size(), 1U);
  EXPECT_EQ(start.A[0].name, "lm_head.lora_A.weight");
  EXPECT_EQ(start.A[0].tensor.sizes(), at::IntArrayRef({2, 16}));
}

TEST(Eva, BatchesMustBeLargeEnoughAndRanksSmallEnough) {
  const models::BaseModel base = test::tiny_llama();
  LoraOptions options = golden_options();
  options.r = 4;
  EvaPass pass(options, *base.model);
  EXPECT_EQ(pass.tokens_needed(), 12);
  const std::vector<test::Document> rows = test::documents_of({5, 6}, 50);
  EXPECT_FALSE(pass.add(test::batch_of(rows), at::arange(11)));
  EXPECT_FALSE(pass.is_started());  // only o_proj, with half the rank, has started
  EXPECT_FALSE(pass.add(test::batch_of(test::documents_of({9, 6}, 50)), at::arange(15)));
  EXPECT_TRUE(pass.is_started());
  EXPECT_EQ(pass.num_modules(), 15);

  options.eva.rho = 5;
  expect_error(ErrorKind::kConfig, {"adapter.eva_config.rho", "found 20 directions", "q_proj", "16"},
               [&] { EvaPass(options, *base.model); });
  options.target_modules.names = {"nothing"};
  expect_error(ErrorKind::kConfig, {"adapter.target_modules", "nothing"}, [&] { EvaPass(options, *base.model); });
}

}  // namespace
}  // namespace lora::peft
