#include "checks.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <cstdio>
#include <functional>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "lora/base/text.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

constexpr const char* kAdapter = "load-time check";
constexpr uint64_t kSeed = 0x10adc4ec;
constexpr int64_t kGroupBytes = int64_t{1} << 30;  ///< of weights that are held twice at a time

/// Documents of at most these lengths, of ids that every table of the model has and positions that a table of positions has; one of
/// two rows is of segments.
std::vector<std::vector<int32_t>> documents_of(const ScriptModel& model, const std::vector<int64_t>& lengths) {
  const auto ids = static_cast<uint64_t>(model.smallest_table());
  const int64_t positions = model.smallest_table(/*more_than=*/2);
  CounterRandom random(kSeed);
  std::vector<std::vector<int32_t>> documents;
  for (const int64_t length : lengths) {
    std::vector<int32_t>& document = documents.emplace_back();
    for (int64_t t = 0; t < std::min(length, positions); ++t) {
      document.push_back(static_cast<int32_t>(random.below(ids)));
    }
  }
  return documents;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes().equals(b.sizes()) && (at::equal(a, b) || at::allclose(a, b, /*rtol=*/0, /*atol=*/0, /*equal_nan=*/true));
}

nn::TokenBatch batch_of(const std::vector<std::vector<int32_t>>& documents) {
  std::vector<nn::DocumentView> views;
  for (const std::vector<int32_t>& ids : documents) {
    views.push_back({&ids, &ids, static_cast<int64_t>(views.size())});
  }
  return nn::make_token_batch(views);
}

/// Logits of the tokens.
class LearntTokens : public Subject {
 public:
  explicit LearntTokens(ScriptModel& model) : model_(model) {
    samples_.emplace_back(model, batch_of(documents_of(model, {8, 6})));
    samples_.emplace_back(model, batch_of(documents_of(model, {5, 3, 4})));
  }

  Network& network() override { return model_.network(); }
  const std::vector<Sample>& samples() const override { return samples_; }
  Tensor outputs(const nn::Pass& pass) const override { return model_.hidden(pass); }
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const override {
    return model_.logits_of(result, sample.rectangle).flatten(0, 1).index_select(0, sample.rectangle.places_T);
  }

 private:
  ScriptModel& model_;
  std::vector<Sample> samples_;
};

class Check {
 public:
  explicit Check(Subject& subject) : subject_(subject), network_(subject.network()), samples_(subject.samples()) {}

  void run() {
    const std::vector<std::pair<std::string, uint32_t>> before = versions();
    for (const Sample& sample : samples_) {
      check_bits(sample);
    }
    require_unchanged(before, "");
    check_adapters();
    require_unchanged(before, " in its training form. model.base_dropout 0 keeps it in its evaluation form");
  }

 private:
  Tensor outputs_of(const c10::IValue& result, const Sample& sample) const { return subject_.outputs_of(result, sample); }

  Tensor by_sites(const Sample& sample, bool training) const {
    return subject_.outputs(training ? nn::training_pass(sample.batch, kSeed, 0) : nn::evaluation_pass(sample.batch));
  }

  void check_bits(const Sample& sample) {
    const at::NoGradGuard no_grad;
    const Tensor lowered = by_sites(sample, false);
    if (!same_bits(lowered, by_sites(sample, false))) {
      model_error(network_.where(),
                  "is random in its evaluation form: found two results of one input. Likely cause: dropout of a module that was traced in "
                  "training mode. Export it after eval()");
    }
    if (!at::isfinite(lowered).all().item<bool>()) {
      model_error(network_.where(), "gives values that are not finite for ordinary ids: nothing of it could be checked");
    }
    const Tensor own = outputs_of(network_.run_module(sample.arguments), sample);
    if (!same_bits(lowered, own)) {
      model_error(network_.where(), "its graph gives other numbers than the module: found a difference of " +
                                        number_text((lowered - own).abs().max().item<double>()) +
                                        ", expected none. Likely cause: torch.autocast in forward. Export it without");
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

  /// Hosts whose weight is not another's too, in groups of bounded size.
  void check_adapters() {
    std::vector<nn::MatrixHost*> group;
    int64_t bytes = 0;
    for (const auto& host : network_.hosts().all) {
      auto* matrix = dynamic_cast<nn::MatrixHost*>(host.get());
      if (matrix == nullptr || !is_judgeable(*matrix)) {
        continue;
      }
      group.push_back(matrix);
      bytes += static_cast<int64_t>(matrix->weights().front().base().nbytes());
      if (bytes > kGroupBytes) {
        check_group(group);
        group.clear();
        bytes = 0;
      }
    }
    if (!group.empty()) {
      check_group(group);
    }
  }

  /// A tied weight's change is seen at both of its places, a pair at one of them is not.
  bool is_judgeable(const nn::MatrixHost& host) const {
    for (const auto& [slot, plan] : network_.hosts().plans) {
      const bool is_own = (plan.linear >= 0 && network_.hosts().all[plan.linear].get() == &host) ||
                          (plan.table >= 0 && network_.hosts().all[plan.table].get() == &host);
      if (is_own && plan.linear >= 0 && plan.table >= 0) {
        return false;
      }
    }
    return true;
  }

  static void attach(nn::MatrixHost& host) {
    const Tensor W = host.weights().front().base();
    const bool is_table = dynamic_cast<const nn::Embedding*>(&host) != nullptr;
    const auto* linear = dynamic_cast<const nn::Linear*>(&host);
    const int64_t inputs = is_table ? W.size(0) : linear->in_features();
    const int64_t outputs = is_table ? W.size(1) : linear->out_features();
    at::Generator numbers = at::detail::createCPUGenerator(mix64(kSeed, hash_name(host.name())));
    const Tensor A_RI = at::randn({2, inputs}, numbers, at::kFloat).to(W.device());
    const Tensor B_OR = at::randn({outputs, 2}, numbers, at::kFloat).to(W.device());
    // Of a size that is seen in half precision, and small beside the weight.
    const double delta = B_OR.mm(A_RI).norm().item<double>(), own = W.to(at::kFloat).norm().item<double>();
    const double scale = own > 0 && delta > 0 ? 0.3 * own / delta : 0.1;
    host.attach(nn::LowRank{.adapter = kAdapter, .A_RI = A_RI.requires_grad_(true), .B_OR = B_OR.requires_grad_(true), .scale = scale});
  }

  /// How far the pairs of these hosts do something else than the change of their weights, as a share of what that does; none if
  /// that does nothing to this input.
  std::optional<double> disagreement(const std::vector<nn::MatrixHost*>& hosts, bool with_grad) {
    const at::AutoGradMode mode(with_grad);
    const Sample& sample = samples_[0];
    const Tensor bare = by_sites(sample, false).detach();
    for (nn::MatrixHost* host : hosts) {
      attach(*host);
    }
    const Tensor by_pairs = by_sites(sample, false).detach() - bare;
    Tensor by_weights = outputs_of(network_.run_in_weight_space(sample.arguments), sample).detach() - bare;
    for (nn::MatrixHost* host : hosts) {
      host->remove_adapters();
    }
    const double size = by_weights.to(at::kFloat).norm().item<double>();
    const double difference = (by_pairs - by_weights).to(at::kFloat).norm().item<double>();
    const double apart = difference > 1e-6 * bare.to(at::kFloat).norm().item<double>() ? difference : 0;  // or it is rounding alone
    return size > 0 ? std::optional(apart / size) : apart > 0 ? std::optional(1e9) : std::nullopt;
  }

  bool is_dead(const std::vector<nn::MatrixHost*>& hosts) {
    const double bound = network_.dtype() == at::kFloat || network_.dtype() == at::kDouble ? 1e-3 : 0.1;
    for (const bool with_grad : {false, true}) {
      if (disagreement(hosts, with_grad).value_or(0) > bound) {
        return true;
      }
    }
    return false;
  }

  void check_group(const std::vector<nn::MatrixHost*>& group) {
    if (is_dead(group)) {
      std::vector<std::string> names;
      for (nn::MatrixHost* host : group) {
        if (is_dead({host})) {
          names.push_back(host->name());
        }
      }
      if (names.empty()) {  // together they differ by what rounding adds up to
        check_gradients(group);
        return;
      }
      model_error(network_.where(), "an adapter does not do what the change of its weight does at: " + join(names, ", ", 8) +
                                        ". Its forward uses the weight in a way that this version does not see");
    }
    check_gradients(group);
  }

  void check_gradients(const std::vector<nn::MatrixHost*>& group) {
    for (nn::MatrixHost* host : group) {
      attach(*host);
    }
    const at::AutoGradMode mode(true);
    const Tensor out = by_sites(samples_[0], true);
    if (!out.requires_grad()) {
      model_error(network_.where(),
                  "its result has no gradient: found a forward under torch.no_grad or a detach at its end, expected one that "
                  "can be trained. Export it without");
    }
    const Tensor weights = at::randn(out.sizes(), at::detail::createCPUGenerator(kSeed), at::kFloat).to(out.device());
    (out.to(at::kFloat) * weights).sum().backward();
    std::vector<nn::MatrixHost*> without;
    for (nn::MatrixHost* host : group) {
      const nn::LowRank& pair = host->attachments().back();
      const auto is_missing = [](const Tensor& tensor) { return !tensor.grad().defined() || !tensor.grad().ne(0).any().item<bool>(); };
      if (is_missing(pair.A_RI) || is_missing(pair.B_OR)) {
        without.push_back(host);
      }
    }
    for (nn::MatrixHost* host : group) {
      host->remove_adapters();
    }
    for (nn::MatrixHost* host : without) {
      if (disagreement({host}, false)) {  // its weight counts for this input
        network_.hosts().unreached.emplace(host, std::make_unique<Unreached>(*host));
      }
    }
  }

  Subject& subject_;
  Network& network_;
  const std::vector<Sample>& samples_;
};

/// The second document beside a longer one and beside one of its own length.
void look_for_padding(ScriptModel& model) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<int32_t>> documents = documents_of(model, {8, 6});
  const auto length = static_cast<int64_t>(documents[1].size());
  const auto second = [&model, &documents, length] {
    const nn::TokenBatch batch = batch_of(documents).to(model.device());
    return model.hidden(nn::evaluation_pass(batch)).slice(0, -length);
  };
  const Tensor padded = second();
  documents[0].resize(documents[1].size());
  const Tensor bare = second();
  const double bound = model.dtype() == at::kFloat || model.dtype() == at::kDouble ? 1e-4 : 0.05;
  if ((padded - bare).abs().max().item<double>() > bound * bare.abs().max().item<double>()) {
    model.keep_lengths_apart();
  }
}

}  // namespace

void check_adapters(Subject& subject) {
  Check(subject).run();
}

void check_network(ScriptModel& model) {
  LearntTokens documents(model);
  check_adapters(documents);
  look_for_padding(model);  // the last: passes are others from then on
}

}  // namespace lora::torchscript
