#include "lora/peft/eva.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lora/base/error.h"
#include "lora/nn/weight_changes.h"
#include "lora/peft/adapter_folder.h"
#include "peft/incremental_pca.h"
#include "peft/lora.h"
#include "peft/lora_init.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

int64_t rank_of(const LoraOptions& options, const nn::Linear& host) {
  return pattern_value(options.rank_pattern, host.name(), options.r, "adapter.rank_pattern");
}

/// The options with these ranks: as in PEFT, patterns with whole names. A module with rank 0 is no longer a target.
LoraOptions with_ranks(const LoraOptions& options, const std::vector<nn::Linear*>& hosts, const std::vector<int64_t>& ranks) {
  LoraOptions result = options;
  result.rank_pattern.clear();
  result.alpha_pattern.clear();
  std::vector<std::string> left;
  for (size_t i = 0; i < hosts.size(); ++i) {
    if (ranks[i] == 0) {
      continue;
    }
    const std::string& name = hosts[i]->name();
    double alpha = pattern_value(options.alpha_pattern, name, options.lora_alpha, "adapter.alpha_pattern");
    if (options.eva.adjust_scaling_factors) {
      alpha *= static_cast<double>(ranks[i]) / static_cast<double>(rank_of(options, *hosts[i]));
    }
    left.push_back(name);
    if (ranks[i] != options.r) {
      result.rank_pattern.emplace_back(name, ranks[i]);
    }
    if (alpha != options.lora_alpha) {
      result.alpha_pattern.emplace_back(name, alpha);
    }
  }
  if (left.size() < hosts.size()) {
    result.target_modules = {ModuleChoice::Kind::kList, left, ""};
  }
  return result;
}

/// Modules with the same input, for which one SVD is enough.
struct InputGroup {
  std::vector<size_t> members;  ///< indices of hosts; the first represents the group
  IncrementalPca pca;
  Tensor converged_C;  ///< bool
  bool active = true;
};

}  // namespace

struct EvaPass::Impl : public nn::InputObserver {
  Impl(const LoraOptions& options, nn::Model& model)
      : options(options), model(model), hosts(choose_hosts(options, model, /*warns=*/false).hosts) {
    for (const nn::Linear* host : hosts) {
      const int64_t rank = rank_of(options, *host);
      // Rounds half to even, like Python.
      components.push_back(static_cast<int64_t>(std::nearbyint(static_cast<double>(rank) * options.eva.rho)));
      budget += rank;
      if (components.back() > host->in_features()) {
        config_error("adapter.eva_config.rho", "found " + std::to_string(components.back()) + " directions (r * rho) for " + host->name() +
                                                   ", expected at most the number of its input channels, " +
                                                   std::to_string(host->in_features()) + ". Lower r or rho.");
      }
    }
  }

  void see(const nn::Linear& host, const Tensor& x_TI) override {
    const auto found = std::find(hosts.begin(), hosts.end(), &host);
    if (found == hosts.end()) {
      return;
    }
    const auto index = static_cast<size_t>(found - hosts.begin());
    if (ranks.empty()) {
      sort_in(index, x_TI);
      return;
    }
    for (InputGroup& group : groups) {
      if (group.members.front() == index && group.active && counted_N.size(0) >= components[index]) {
        update(group, x_TI.index_select(0, counted_N).to(at::kFloat));
      }
    }
  }

  /// Groups the modules by their input, in the first pass.
  void sort_in(size_t index, const Tensor& x_TI) {
    if (is_seen(index)) {
      return;
    }
    if (!groups.empty() && last_input.is_same(x_TI)) {
      groups.back().members.push_back(index);
    } else {
      groups.push_back({{index}, IncrementalPca(0), {}, true});
    }
    last_input = x_TI;
  }

  void run(const nn::Batch& batch) {
    nn::Pass pass = nn::evaluation_pass(batch);
    pass.observer = this;
    const Tensor hidden_TD = model.body->hidden(pass);
    model.tokens->observe(hidden_TD, *this);  // the head has not been computed
    last_input = Tensor();
  }

  bool is_seen(size_t index) const {
    return std::any_of(groups.begin(), groups.end(), [index](const InputGroup& group) {
      return std::find(group.members.begin(), group.members.end(), index) != group.members.end();
    });
  }

  /// A module of a TorchScript network may have an input without one row per token, or no known input.
  void require_seen() const {
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (!is_seen(i)) {
        config_error("adapter.init_lora_weights",
                     "\"eva\" does not support '" + hosts[i]->name() +
                         "', whose input does not have one row per token of a batch. Remove it from the targets, or choose "
                         "another initialization.");
      }
    }
  }

  void find_groups(const nn::Batch& batch) {
    run(batch);
    require_seen();
    for (InputGroup& group : groups) {
      int64_t most = 0;
      for (const size_t member : group.members) {
        most = std::max(most, components[member]);
      }
      for (const size_t member : group.members) {
        components[member] = most;
      }
      group.pca = IncrementalPca(most);
      group.converged_C = at::zeros({most}, at::kBool);
    }
    ranks = components;
  }

  void update(InputGroup& group, const Tensor& rows_ND) const {
    const Tensor before_CD = group.pca.components_CD();
    group.pca.add(rows_ND);
    if (before_CD.defined()) {
      const Tensor cosine_C = at::cosine_similarity(group.pca.components_CD(), before_CD);
      group.converged_C = cosine_C.ge(options.eva.tau).cpu();
    }
  }

  bool is_started() const {
    return !groups.empty() && std::all_of(groups.begin(), groups.end(), [](const InputGroup& group) { return group.pca.has_components(); });
  }

  /// Distributes the ranks by explained variance: the best `budget` of all components of all modules.
  void share_out() {
    std::vector<size_t> order;  // one entry per module, first modules of groups first, which decides ties
    for (const InputGroup& group : groups) {
      order.push_back(group.members.front());
    }
    std::vector<const InputGroup*> group_of(hosts.size());
    for (const InputGroup& group : groups) {
      order.insert(order.end(), group.members.begin() + 1, group.members.end());
      for (const size_t member : group.members) {
        group_of[member] = &group;
      }
    }
    std::vector<Tensor> ratios;
    std::vector<size_t> owner;
    for (const size_t module : order) {
      ratios.push_back(group_of[module]->pca.explained_variance_ratio_C().cpu().to(at::kDouble));
      owner.insert(owner.end(), static_cast<size_t>(ratios.back().size(0)), module);
    }
    ranks.assign(hosts.size(), 0);
    const Tensor best = at::cat(ratios).argsort(/*dim=*/0, /*descending=*/true).slice(0, 0, budget);
    for (int64_t i = 0; i < best.size(0); ++i) {
      ++ranks[owner[static_cast<size_t>(best.data_ptr<int64_t>()[i])]];
    }
    // Convergence is checked for the first module of a group, so it gets the highest rank.
    for (const InputGroup& group : groups) {
      for (const size_t member : group.members) {
        if (ranks[member] > ranks[group.members.front()]) {
          std::swap(ranks[member], ranks[group.members.front()]);
        }
      }
    }
  }

  LoraOptions options;
  nn::Model& model;
  std::vector<nn::Linear*> hosts;
  std::vector<int64_t> components;  ///< the largest rank that each host can get
  int64_t budget = 0;               ///< sum of the ranks
  std::vector<InputGroup> groups;
  std::vector<int64_t> ranks;  ///< current rank of each host; empty before the first pass
  Tensor counted_N;
  Tensor last_input;
};

EvaPass::EvaPass(const LoraOptions& options, nn::Model& model) : impl_(std::make_unique<Impl>(options, model)) {}
EvaPass::~EvaPass() = default;

bool EvaPass::add(const nn::Batch& batch, const Tensor& counted_N) {
  const at::NoGradGuard no_grad;
  impl_->counted_N = counted_N.to(impl_->model.device());
  if (impl_->groups.empty()) {
    impl_->find_groups(batch);
  }
  bool all_converged = true;
  for (InputGroup& group : impl_->groups) {
    // A module becomes active again if its new rank needs components that have not converged.
    group.active = !group.converged_C.slice(0, 0, impl_->ranks[group.members.front()]).all().item<bool>();
    all_converged = all_converged && !group.active;
  }
  if (all_converged) {
    return true;
  }
  impl_->run(batch);
  if (impl_->is_started()) {
    impl_->share_out();
  }
  return false;
}

bool EvaPass::is_started() const {
  return impl_->is_started();
}

int64_t EvaPass::tokens_needed() const {
  return *std::max_element(impl_->components.begin(), impl_->components.end());
}

int64_t EvaPass::num_converged() const {
  int64_t count = 0;
  for (const InputGroup& group : impl_->groups) {
    count += group.active ? 0 : static_cast<int64_t>(group.members.size());
  }
  return count;
}

int64_t EvaPass::num_modules() const {
  return static_cast<int64_t>(impl_->hosts.size());
}

EvaStart EvaPass::start() const {
  EvaStart start{with_ranks(impl_->options, impl_->hosts, impl_->ranks), {}};
  for (const InputGroup& group : impl_->groups) {
    for (const size_t member : group.members) {
      const int64_t rank = impl_->ranks[member];
      Tensor A_RI = group.pca.components_CD().slice(0, 0, rank);
      if (impl_->options.eva.whiten) {
        A_RI = A_RI / group.pca.singular_values_C().slice(0, 0, rank).sqrt().unsqueeze(1);
      }
      if (rank > 0) {
        start.A.push_back({a_name(*impl_->hosts[member]), A_RI.to(at::kFloat)});
      }
    }
  }
  return start;
}

std::unique_ptr<Method> attach_eva(const EvaStart& start, nn::Model& model, const BaseReference& base, uint64_t seed) {
  auto method = attach_lora(start.options, model, base, seed);
  const at::NoGradGuard no_grad;
  for (const nn::Parameter& parameter : method->parameters()) {
    for (const io::NamedTensor& A : start.A) {
      if (A.name == parameter.name) {
        parameter.tensor.detach().copy_(A.tensor);
      }
    }
  }
  nn::trained_weights_changed();
  return method;
}

LoraOptions eva_options(const LoraOptions& options, nn::Model& model, const std::filesystem::path& folder) {
  const AdapterFolder file(folder);
  const std::vector<nn::Linear*> hosts = choose_hosts(options, model, /*warns=*/false).hosts;
  std::vector<int64_t> ranks;
  for (const nn::Linear* host : hosts) {
    const Tensor* const A_RI = file.find(a_name(*host));
    ranks.push_back(A_RI != nullptr ? A_RI->size(0) : 0);
  }
  return with_ranks(options, hosts, ranks);
}

}  // namespace lora::peft
