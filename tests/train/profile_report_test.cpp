// The summary of made-up events, and the kinds of the nodes that real backward graphs hold.
#include "train/profile_report.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>

#include <map>
#include <set>

#include "lora/ops/attention.h"
#include "lora/ops/dora_linear.h"
#include "lora/ops/linear_cross_entropy.h"
#include "lora/ops/lora_linear.h"
#include "support/dense_weight.h"
#include "train/profile_scope.h"

namespace lora::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr int64_t kMs = 1'000'000;

TimedEvent on_thread(const std::string& name, int64_t begin_ms, int64_t end_ms, int64_t smallest_size = 0, uint64_t thread = 1) {
  return {name, thread, begin_ms * kMs, end_ms * kMs, smallest_size};
}

/// Milliseconds of each kind that has some.
std::map<std::string, double> kinds(const ProfileReport& report) {
  std::map<std::string, double> result;
  for (size_t i = 0; i < report.by_kind.size(); ++i) {
    if (report.by_kind[i] != 0) {
      result[std::string(kTimeKinds.entries[i].name)] = report.by_kind[i];
    }
  }
  return result;
}

TEST(ProfileReport, NestedTimeCountsOnceAsTheInnerOnes) {
  const std::vector<TimedEvent> events{
      on_thread("aten::mm", 0, 5),  // before the step: not counted
      on_thread(kStepScope, 10, 110),
      on_thread(kDataScope, 10, 14),
      on_thread("aten::empty", 11, 12),
      on_thread("aten::linear", 20, 50),
      on_thread("aten::addmm", 22, 48),
      on_thread("aten::copy_", 23, 25),  // within a product: counted as part of it
      on_thread("aten::scaled_dot_product_attention", 50, 60),
      on_thread("aten::bmm", 51, 59),  // within attention
      on_thread("autograd::engine::evaluate_function: torch::autograd::CppNode<lora::ops::(anonymous namespace)::Project>", 60, 80),
      on_thread("aten::mm", 61, 71, 512),
      on_thread("aten::mm", 71, 74, 8),
      on_thread("aten::mul", 74, 76),
      on_thread(kLossScope, 80, 90),
      on_thread("aten::mm", 81, 89, 8),
      on_thread(kOptimizerScope, 95, 105),
      on_thread("aten::mul", 96, 100),
      on_thread("aten::mm", 20, 100, 0, 2),  // on another thread
  };
  const ProfileReport report = summarize(events, 24);
  EXPECT_EQ(report.num_steps, 1);
  EXPECT_DOUBLE_EQ(report.milliseconds, 100);
  EXPECT_THAT(kinds(report), UnorderedElementsAre(Pair("data", 4), Pair("GEMM", 30 + 10), Pair("attention", 10), Pair("LoRA", 10),
                                                  Pair("loss", 10), Pair("optimizer", 10), Pair("other", 16)));
  EXPECT_EQ(report.slowest.at(0).name, "aten::addmm");
  EXPECT_DOUBLE_EQ(report.slowest.at(0).milliseconds, 24);
  EXPECT_EQ(report.slowest.at(1).name, "aten::mm");
  EXPECT_DOUBLE_EQ(report.slowest.at(1).milliseconds, 10 + 3 + 8);
  EXPECT_DOUBLE_EQ(report.slowest.at(1).calls, 3);
}

/// The kind by which an event of this name counts.
std::string kind_of(const std::string& name) {
  const ProfileReport report = summarize({on_thread(kStepScope, 0, 10), on_thread(name, 0, 10)}, 0);
  return kinds(report).begin()->first;
}

/// The kinds of a result's backward nodes (not other), by the names under which autograd's engine profiles them.
std::set<std::string> kinds_in_backward(const at::Tensor& result) {
  std::set<std::string> found;
  std::set<torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open{result.grad_fn().get()};
  while (!open.empty()) {
    torch::autograd::Node* node = open.back();
    open.pop_back();
    if (node == nullptr || !seen.insert(node).second) {
      continue;
    }
    found.insert(kind_of("autograd::engine::evaluate_function: " + node->name()));
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      open.push_back(edge.function.get());
    }
  }
  found.erase("other");
  return found;
}

TEST(ProfileReport, NodesOfARealBackwardGraphHaveTheirKinds) {
  const auto trained = [](at::IntArrayRef shape) { return at::ones(shape, at::kFloat).requires_grad_(true); };
  const at::Tensor x_TI = trained({4, 8}), W_OI = at::ones({8, 8}, at::kFloat), keys_T = at::arange(4);
  const ops::LowRankTerm term{.A_RI = trained({2, 8}), .B_OR = trained({8, 2}), .scale = 1.0, .dropout = {}};
  EXPECT_THAT(kinds_in_backward(ops::project(x_TI, {{test::dense(W_OI), std::nullopt, term}}).front()), ElementsAre("LoRA"));
  const ops::DoraTerm dora{term, trained({8}), at::ones({8}, at::kFloat)};
  EXPECT_THAT(kinds_in_backward(ops::dora_linear(x_TI, test::dense(W_OI), std::nullopt, dora)), ElementsAre("LoRA"));
  EXPECT_THAT(kinds_in_backward(ops::differentiable_dropout(x_TI, {keys_T, 1, 0.5})), ElementsAre("LoRA"));
  EXPECT_THAT(kinds_in_backward(ops::linear_cross_entropy(x_TI, W_OI, std::nullopt, keys_T)), ElementsAre("loss"));
  const std::vector<int64_t> host_offsets{0, 4};
  const at::Tensor q_THE = trained({4, 1, 8}), offsets = at::tensor({0, 4}, at::kInt);
  const ops::DocumentLayout layout{offsets, host_offsets, 4};
  for (const std::optional<int64_t> window : {std::optional<int64_t>(), std::optional<int64_t>(2)}) {
    const ops::AttentionOptions options{.window = window};
    EXPECT_THAT(kinds_in_backward(ops::document_attention(q_THE, q_THE, q_THE, layout, options)), ElementsAre("attention"));
  }
}

TEST(ProfileReport, IsOfAMeanStep) {
  std::vector<TimedEvent> events;
  for (const int64_t begin : {0, 100, 300}) {
    events.push_back(on_thread(kStepScope, begin, begin + 30));
    events.push_back(on_thread("aten::mm", begin, begin + 30));
  }
  const ProfileReport report = summarize(events, 0);
  EXPECT_EQ(report.num_steps, 3);
  EXPECT_DOUBLE_EQ(report.milliseconds, 30);
  EXPECT_THAT(kinds(report), ElementsAre(Pair("GEMM", testing::DoubleEq(30))));
  const std::vector<std::string> lines = report_lines(report, 7);
  EXPECT_EQ(lines.at(0), "Profile of steps 7 to 9, per step:");
  EXPECT_THAT(lines.at(2), testing::AllOf(HasSubstr("  GEMM "), HasSubstr(" 30.000 ms  100.0 %")));
  EXPECT_THAT(lines.at(3), testing::AllOf(HasSubstr("  attention "), HasSubstr("  0.0 %")));
  EXPECT_THAT(lines.at(10), testing::AllOf(HasSubstr("  aten::mm "), HasSubstr(" 30.000 ms "), HasSubstr("1.0 calls")));
  EXPECT_EQ(summarize({}, 0).milliseconds, 0);
  EXPECT_FALSE(report_lines(summarize({}, 0), 1).empty());
}

TEST(ProfileReport, KernelsAreOfTheOperatorThatLaunchedThem) {
  std::vector<TimedEvent> events{on_thread(kStepScope, 0, 100), on_thread("aten::mm", 0, 1), on_thread(kLossScope, 1, 3),
                                 on_thread("aten::mm", 1, 2), on_thread("aten::mm", 5, 6, 0, 9)};
  events[1].correlation = 11;
  events[3].correlation = 12;
  events[4].correlation = 13;
  const auto kernel = [](const char* name, int64_t begin, int64_t end, uint64_t correlation) {
    return TimedEvent{name, 7, begin * kMs, end * kMs, 0, true, correlation};
  };
  events.push_back(kernel("gemm", 10, 40, 11));
  events.push_back(kernel("gemm", 40, 50, 12));
  events.push_back(kernel("gemm", 50, 70, 13));
  events.push_back(kernel("fill", 70, 75, 99));
  const ProfileReport report = summarize(events, 0);
  EXPECT_THAT(kinds(report), UnorderedElementsAre(Pair("GEMM", 50), Pair("loss", 10), Pair("other", 5 + 35)));
  EXPECT_EQ(report.slowest.at(0).name, "gemm");
}

}  // namespace
}  // namespace lora::train
