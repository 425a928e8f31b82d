#include "torchscript/checks.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <map>
#include <set>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "lora/base/text.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr const char* kAdapter = "load-time check";
constexpr uint64_t kCheckSeed = 0x10adc4ec;
constexpr int64_t kGroupBytes = int64_t{1} << 30;  ///< weights that are held twice at a time: this, or a quarter of all if that is more

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

/// Hosts that are checked together: one, or the two of a tied weight.
using Unit = std::vector<nn::MatrixHost*>;

class Check {
 public:
  explicit Check(Subject& subject) : subject_(subject), model_(subject.model()), network_(model_.network()), samples_(subject.samples()) {}

  void run() {
    const std::vector<std::pair<std::string, uint32_t>> before = versions();
    for (const Sample& sample : samples_) {
      require_equal_bits(sample);
    }
    require_unchanged(before, "");
    require_working_adapters();
    require_unchanged(before, " in training mode. Set model.base_dropout to 0 to keep it in evaluation mode.");
    find_documents();
  }

 private:
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const { return subject_.outputs_of(result, sample); }

  Tensor by_sites(const Sample& sample, bool training) const {
    return subject_.outputs(training ? nn::training_pass(sample.batch, kCheckSeed, 0) : nn::evaluation_pass(sample.batch));
  }

  void require_equal_bits(const Sample& sample) {
    const at::NoGradGuard no_grad;
    const Tensor lowered = by_sites(sample, false);
    if (!same_bits(lowered, by_sites(sample, false))) {
      model_error(network_.where(),
                  "is random in evaluation mode: found two different results for the same input. Likely cause: dropout in a module that "
                  "was traced in training mode. Call eval() before exporting it.");
    }
    if (!at::isfinite(lowered).all().item<bool>()) {
      model_error(network_.where(), "returns values that are not finite for ordinary inputs, so that it cannot be checked");
    }
    const Tensor own = outputs_of(network_.run_module(sample.arguments), sample);
    if (!same_bits(lowered, own)) {
      model_error(network_.where(), "its graph does not reproduce the module's results: found a difference of " +
                                        number_text((lowered - own).abs().max().item<double>()) +
                                        ", expected none. Likely cause: torch.autocast in forward. Export the module without it.");
    }
  }

  std::vector<std::pair<std::string, uint32_t>> versions() const {
    std::vector<std::pair<std::string, uint32_t>> all;
    for (const Slot& slot : all_slots(network_.module())) {
      all.emplace_back(slot.name, slot.tensor._version());
    }
    return all;
  }

  void require_unchanged(const std::vector<std::pair<std::string, uint32_t>>& before, const std::string& hint) const {
    const std::vector<std::pair<std::string, uint32_t>> now = versions();
    for (size_t i = 0; i < now.size() && i < before.size(); ++i) {
      if (now[i] != before[i]) {
        model_error(network_.where(), "changes its own tensor '" + now[i].first + "' when it is called" + hint);
      }
    }
  }

  /// Every host once, with the two hosts of a tied weight as one unit, because a change of the weight affects both.
  std::vector<Unit> units() const {
    const std::vector<std::unique_ptr<nn::Host>>& all = network_.hosts().all;
    std::map<const nn::Host*, nn::MatrixHost*> heads;  // by their table
    std::set<const nn::Host*> tied;
    for (const auto& [slot, plan] : network_.hosts().plans) {
      if (plan.linear >= 0 && plan.table >= 0) {
        heads.emplace(all[plan.table].get(), dynamic_cast<nn::MatrixHost*>(all[plan.linear].get()));
        tied.insert(all[plan.linear].get());
      }
    }
    std::vector<Unit> result;
    for (const auto& host : all) {
      auto* matrix = dynamic_cast<nn::MatrixHost*>(host.get());
      if (matrix == nullptr || tied.count(matrix) > 0) {
        continue;
      }
      result.push_back({matrix});
      if (const auto head = heads.find(matrix); head != heads.end()) {
        result.back().push_back(head->second);
      }
    }
    return result;
  }

  static int64_t bytes_of(const Unit& unit) { return unit.front()->matrix()->bytes(); }

  /// Checks the hosts in groups of bounded size, about four at most.
  void require_working_adapters() {
    const std::vector<Unit> all = units();
    int64_t total = 0, bytes = 0;
    for (const Unit& unit : all) {
      total += bytes_of(unit);
    }
    for (const bool with_grad : kModes) {
      const at::AutoGradMode mode(with_grad);
      bare_.push_back(by_sites(subject_.sample_for_adapters(), false).detach());
    }
    std::vector<Unit> group;
    for (const Unit& unit : all) {
      group.push_back(unit);
      bytes += bytes_of(unit);
      if (bytes > std::max(kGroupBytes, total / 4)) {
        require_working_group(group);
        group.clear();
        bytes = 0;
      }
    }
    if (!group.empty()) {
      require_working_group(group);
    }
    model_.set_idle(std::move(idle_));
  }

  /// Attaches a random pair. Its product, as [rows, columns] of the stored weight, is drawn by the weight's slot, so that both hosts of a
  /// tied weight get the same change.
  void attach(nn::MatrixHost& host) const {
    const nn::BaseWeight& weight = host.weights().front();
    const Tensor W = weight.base();
    const bool turned = host.layout() == nn::WeightLayout::kInOut;  // A's columns are the weight's rows
    at::Generator numbers =
        at::detail::createCPUGenerator(mix64(kCheckSeed, hash_name(network_.hosts().slot_names.at(weight.parameter().name))));
    const Tensor rows = at::randn({W.size(0), 2}, numbers, at::kFloat).to(W.device());
    const Tensor columns = at::randn({2, W.numel() / W.size(0)}, numbers, at::kFloat).to(W.device());
    // Large enough to be seen in half precision, and small compared with the weight.
    const double delta = rows.mm(columns).norm().item<double>(), own = W.to(at::kFloat).norm().item<double>();
    const double scale = own > 0 && delta > 0 ? 0.3 * own / delta : 0.1;
    Tensor A_RI = turned ? rows.t().contiguous() : columns, B_OR = turned ? columns.t().contiguous() : rows;
    if (W.dim() > 2) {  // a convolution
      std::vector<int64_t> of_A = W.sizes().vec(), of_B(of_A.size(), 1);
      of_A[0] = of_B[1] = 2;
      of_B[0] = W.size(0);
      A_RI = A_RI.view(of_A);
      B_OR = B_OR.view(of_B);
    }
    host.attach(nn::LowRank(kAdapter, A_RI.requires_grad_(true), B_OR.requires_grad_(true), scale));
  }

  void attach(const std::vector<Unit>& group) const {
    for (const Unit& unit : group) {
      for (nn::MatrixHost* host : unit) {
        attach(*host);
      }
    }
  }

  static void detach(const std::vector<Unit>& group) {
    for (const Unit& unit : group) {
      for (nn::MatrixHost* host : unit) {
        host->remove_adapters();
      }
    }
  }

  /// The difference between the effect of these hosts' pairs and the effect of the same change of their weights, relative to the latter;
  /// none if the change has no effect on this input.
  std::optional<double> disagreement(const std::vector<Unit>& group, bool with_grad) const {
    const at::AutoGradMode mode(with_grad);
    const Sample& sample = subject_.sample_for_adapters();
    const Tensor& bare = bare_[with_grad ? 1 : 0];
    attach(group);
    const Tensor by_pairs = by_sites(sample, false).detach() - bare;
    const Tensor by_weights = outputs_of(network_.run_in_weight_space(sample.arguments), sample).detach() - bare;
    detach(group);
    const double size = by_weights.to(at::kFloat).norm().item<double>();
    const double difference = (by_pairs - by_weights).to(at::kFloat).norm().item<double>();
    const double rounding = rounding_of_results() * bare.to(at::kFloat).norm().item<double>();
    const double apart = model_.is_half() ? std::max(0.0, difference - rounding) : difference <= rounding ? 0 : difference;
    return size == 0 ? (apart > 0 ? std::optional(1e9) : std::nullopt) : std::optional(apart / size);
  }

  /// The relative size of the last bit of results.
  double rounding_of_results() const { return !model_.is_half() ? 1e-6 : model_.dtype() == at::kHalf ? 0x1p-11 : 0x1p-8; }

  bool is_dead(const std::vector<Unit>& group) const {
    const double bound = model_.is_half() ? 0.1 : 1e-3;
    return std::any_of(kModes.begin(), kModes.end(), [&](bool with_grad) {
      return !(disagreement(group, with_grad).value_or(0) <= bound);  // true for NaN too
    });
  }

  /// The names of the hosts in the group whose adapters do not work, found by bisection. A group may also differ by accumulated rounding.
  std::vector<std::string> dead_of(const std::vector<Unit>& group) const {
    if (!is_dead(group)) {
      return {};
    }
    if (group.size() == 1) {
      return {group.front().front()->name()};
    }
    const auto middle = group.begin() + static_cast<std::ptrdiff_t>(group.size() / 2);
    std::vector<std::string> names = dead_of({group.begin(), middle}), rest = dead_of({middle, group.end()});
    names.insert(names.end(), rest.begin(), rest.end());
    return names;
  }

  void require_working_group(const std::vector<Unit>& group) {
    std::vector<std::string> names = dead_of(group);
    if (model_.is_half() && names.empty()) {
      names = apart_in_gradient(group);
    }
    if (!names.empty()) {
      model_error(network_.where(), "an adapter does not have the effect of the same change of the weight at: " + join(names, ", ", 8) +
                                        ". Its forward uses the weight in a way that this version does not recognise, returns NaN, or "
                                        "amplifies the last bit of a product.");
    }
    require_right_gradients(group);
  }

  /// Gradients of the B of every host in the group, for a randomly weighted loss; undefined where no gradient arrives.
  std::vector<Tensor> gradients(const std::vector<Unit>& group, bool by_weights) const {
    const at::AutoGradMode mode(true);
    const Sample& sample = subject_.sample_for_adapters();
    attach(group);
    const Tensor out = by_weights ? outputs_of(network_.run_in_weight_space(sample.arguments), sample) : by_sites(sample, false);
    if (out.requires_grad()) {
      loss_of(out).backward();
    }
    std::vector<Tensor> all;
    for (const Unit& unit : group) {
      all.push_back(unit.front()->attached<nn::LowRank>().back()->B_OR.grad());
    }
    detach(group);
    return all;
  }

  static Tensor loss_of(const Tensor& out) {
    const Tensor weights = at::randn(out.sizes(), at::detail::createCPUGenerator(kCheckSeed), at::kFloat).to(out.device());
    return (out.to(at::kFloat) * weights).sum();
  }

  /// The hosts whose gradients differ. In half precision the effect of one host among many is lost in the result's rounding, but it is the
  /// whole of its own gradient.
  std::vector<std::string> apart_in_gradient(const std::vector<Unit>& group) const {
    constexpr double kBound = 0.5;
    const std::vector<Tensor> by_pairs = gradients(group, false), by_weights = gradients(group, true);
    std::vector<std::string> names;
    for (size_t i = 0; i < group.size(); ++i) {
      const bool is_both = by_pairs[i].defined() && by_weights[i].defined() && group[i].size() == 1;
      if (is_both && !((by_pairs[i] - by_weights[i]).norm().item<double>() <= kBound * by_weights[i].norm().item<double>())) {
        names.push_back(group[i].front()->name());
      }
    }
    return names;
  }

  void require_right_gradients(const std::vector<Unit>& group) {
    attach(group);
    const at::AutoGradMode mode(true);
    const Tensor out = by_sites(subject_.sample_for_adapters(), true);
    if (!out.requires_grad()) {
      model_error(network_.where(),
                  "its result has no gradient: found a forward under torch.no_grad or a detach at its end, expected one that can be "
                  "trained. Export it without these.");
    }
    loss_of(out).backward();
    std::vector<nn::MatrixHost*> without;
    for (const Unit& unit : group) {
      std::copy_if(unit.begin(), unit.end(), std::back_inserter(without), lacks_gradient);
    }
    detach(group);
    for (nn::MatrixHost* host : without) {
      if (has_effect(*host)) {  // its weight matters for this input
        network_.hosts().unreached.emplace(host, std::make_unique<Unreached>(*host));
      } else {
        idle_.push_back(host);
      }
    }
  }

  /// Finds the calls whose tensors have the documents second, because dropout is drawn by document.
  void find_documents() {
    const at::NoGradGuard no_grad;
    std::array<CallSizes, 2> sizes;
    for (size_t i = 0; i < sizes.size(); ++i) {
      model_.watch_calls(&sizes[i]);
      by_sites(samples_[i], true);
    }
    model_.watch_calls(nullptr);
    network_.hosts().documents_second =
        find_documents_second(sizes[0], samples_[0].rectangle.num_documents, sizes[1], samples_[1].rectangle.num_documents);
  }

  static bool lacks_gradient(const nn::MatrixHost* host) {
    const nn::LowRank& pair = *host->attached<nn::LowRank>().back();
    const auto is_missing = [](const Tensor& tensor) { return !tensor.grad().defined() || !tensor.grad().ne(0).any().item<bool>(); };
    return is_missing(pair.A_RI) || is_missing(pair.B_OR);
  }

  bool has_effect(nn::MatrixHost& host) const {
    const at::NoGradGuard no_grad;
    attach(host);
    const bool has = !same_bits(by_sites(subject_.sample_for_adapters(), false), bare_[0]);
    host.remove_adapters();
    return has;
  }

  static constexpr std::array<bool, 2> kModes{false, true};  ///< without gradients, with gradients

  Subject& subject_;
  NetworkModel& model_;
  Network& network_;
  const std::vector<Sample>& samples_;
  std::vector<Tensor> bare_;  ///< results for the sample for adapters without pairs, by kModes
  std::vector<const nn::MatrixHost*> idle_;
};

}  // namespace

std::vector<c10::IValue> padded_arguments(const NetworkModel& model, const Sample& sample, int64_t id) {
  std::vector<c10::IValue> arguments = sample.arguments;
  const std::vector<std::string>& names = model.fields().names();
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == "input_ids") {
      const Tensor own = arguments[i].toTensor();
      const Tensor& ids_T = sample.batch.tokens().ids_T;
      arguments[i] = at::full_like(own, id).flatten().index_copy(0, sample.rectangle.places_T, ids_T).view(own.sizes());
    }
  }
  return arguments;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes().equals(b.sizes()) && (at::equal(a, b) || at::allclose(a, b, /*rtol=*/0, /*atol=*/0, /*equal_nan=*/true));
}

void require_working_adapters(Subject& subject) {
  Check(subject).run();
}

}  // namespace lora::torchscript
