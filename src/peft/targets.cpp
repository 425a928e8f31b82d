#include "targets.h"

#include <algorithm>
#include <set>

#include "lora/base/log.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"

namespace lora::peft {

namespace {

const char* const kTargets = "adapter.target_modules";

bool is_name_or_suffix(const std::string& module, const std::string& entry) {
  return module == entry || module.ends_with("." + entry);
}

std::string last_part(const std::string& module) {
  return module.substr(module.rfind('.') + 1);
}

/// What could have been targeted: the distinct last parts of the linear modules' names, with counts.
std::string available(const std::vector<nn::Host*>& hosts) {
  std::vector<std::string> order;
  std::map<std::string, int> counts;
  for (const nn::Host* host : hosts) {
    if (dynamic_cast<const nn::Linear*>(host) != nullptr && counts[last_part(host->name())]++ == 0) {
      order.push_back(last_part(host->name()));
    }
  }
  for (std::string& name : order) {
    name += " (" + std::to_string(counts[name]) + ")";
  }
  return join(order);
}

/// Does `module` stand in a layer that layers_to_transform names?
class LayerFilter {
 public:
  explicit LayerFilter(const LoraOptions& options) : layers_(options.layers_to_transform) {
    if (!layers_ || layers_->empty()) {
      layers_.reset();
      return;
    }
    if (options.layers_pattern.empty()) {
      patterns_.emplace_back(R"(.*?\.[^.]*\.(?<idx>\d+)\.)", "adapter.layers_pattern", ErrorKind::kConfig);
    }
    for (const std::string& pattern : options.layers_pattern) {
      patterns_.emplace_back("(?:^|.*?\\.)" + pattern + "\\.(?<idx>\\d+)\\.", "adapter.layers_pattern", ErrorKind::kConfig);
    }
  }

  bool accepts(const std::string& module) const {
    if (!layers_) {
      return true;
    }
    for (const Regex& pattern : patterns_) {
      const std::string index = pattern.group_at_start(module, "idx");
      if (!index.empty()) {
        return index.size() < 10 && std::find(layers_->begin(), layers_->end(), std::stoll(index)) != layers_->end();
      }
    }
    return false;
  }

 private:
  std::optional<std::vector<int64_t>> layers_;
  std::vector<Regex> patterns_;
};

class Exclusion {
 public:
  explicit Exclusion(const ModuleChoice& choice) : choice_(choice) {
    if (choice.kind == ModuleChoice::Kind::kRegex) {
      regex_.emplace(choice.regex, "adapter.exclude_modules", ErrorKind::kConfig);
    }
  }
  bool excludes(const std::string& module) const {
    if (regex_) {
      return regex_->matches_whole(module);
    }
    return std::any_of(choice_.names.begin(), choice_.names.end(),
                       [&](const std::string& entry) { return is_name_or_suffix(module, entry); });
  }
  void warn_if_idle(const std::vector<nn::Host*>& hosts) const {
    if (choice_.kind != ModuleChoice::Kind::kNone &&
        std::none_of(hosts.begin(), hosts.end(), [&](const nn::Host* h) { return excludes(h->name()); })) {
      log::warn("[adapter.exclude_modules] excludes nothing: no module of the model matches");
    }
  }

 private:
  const ModuleChoice& choice_;
  std::optional<Regex> regex_;
};

nn::Linear* as_linear(nn::Host* host) {
  auto* linear = dynamic_cast<nn::Linear*>(host);
  if (linear == nullptr) {
    config_error(kTargets,
                 "LoRA cannot be attached to '" + host->name() + "': found a module of kind " + host->kind() + ", expected Linear");
  }
  return linear;
}

[[noreturn]] void fail_unmatched(const std::string& entry, const std::vector<nn::Host*>& hosts, bool by_layers) {
  const std::string reason = by_layers ? " in the layers of layers_to_transform" : "";
  config_error(kTargets, "matches no module" + reason + ": found '" + entry + "', expected some of " + available(hosts));
}

/// all-linear as a list: last parts where they name the same modules, whole names otherwise.
std::vector<std::string> spelt_out(const std::vector<nn::Linear*>& chosen, const std::vector<nn::Host*>& hosts,
                                   const Exclusion& exclusion) {
  std::set<std::string> parts;
  std::vector<std::string> whole;
  for (const nn::Linear* linear : chosen) {
    parts.insert(last_part(linear->name()));
    whole.push_back(linear->name());
  }
  const auto same = std::count_if(hosts.begin(), hosts.end(), [&](const nn::Host* host) {
    return parts.count(last_part(host->name())) > 0 && !exclusion.excludes(host->name());
  });
  return static_cast<size_t>(same) == chosen.size() ? std::vector<std::string>(parts.begin(), parts.end()) : whole;
}

/// Whether one entry of the choice means this host.
std::vector<std::string> entries_of(const ModuleChoice& choice) {
  switch (choice.kind) {
    case ModuleChoice::Kind::kRegex:
      return {choice.regex};
    case ModuleChoice::Kind::kAllLinear:
      return {"all-linear"};
    default:
      return choice.names;
  }
}

}  // namespace

ChosenHosts choose_hosts(const LoraOptions& options, nn::Model& model) {
  const std::vector<nn::Host*> hosts = model.hosts();
  ChosenHosts result;
  result.targets = options.target_modules;
  if (result.targets.kind == ModuleChoice::Kind::kNone) {
    result.targets = {ModuleChoice::Kind::kList, model.default_target_modules(), ""};
    if (result.targets.names.empty()) {
      config_error(kTargets, "this model's family has no default: found null, expected some of " + available(hosts));
    }
  }
  const LayerFilter layers(options);
  const Exclusion exclusion(options.exclude_modules);
  std::optional<Regex> regex;
  if (result.targets.kind == ModuleChoice::Kind::kRegex) {
    regex.emplace(result.targets.regex, kTargets, ErrorKind::kConfig);
  }
  const auto means = [&](const std::string& entry, const nn::Host* host) {
    if (regex) {
      return regex->matches_whole(host->name());
    }
    if (result.targets.kind == ModuleChoice::Kind::kAllLinear) {
      return dynamic_cast<const nn::Linear*>(host) != nullptr && host != &model.head();
    }
    // A whole name stands for itself, whatever layers_to_transform says (PEFT).
    return host->name() == entry || (is_name_or_suffix(host->name(), entry) && layers.accepts(host->name()));
  };

  std::set<const nn::Host*> chosen;
  for (const std::string& entry : entries_of(result.targets)) {
    TargetMatch match{entry, {}};
    for (nn::Host* host : hosts) {
      if (!exclusion.excludes(host->name()) && means(entry, host)) {
        match.hosts.push_back(as_linear(host)->name());
        chosen.insert(host);
      }
    }
    if (match.hosts.empty()) {
      fail_unmatched(entry, hosts, options.layers_to_transform.has_value());
    }
    result.matches.push_back(std::move(match));
  }
  for (nn::Host* host : hosts) {
    if (chosen.count(host) > 0) {
      result.hosts.push_back(as_linear(host));
    }
  }
  exclusion.warn_if_idle(hosts);
  if (result.targets.kind == ModuleChoice::Kind::kAllLinear) {
    result.targets = {ModuleChoice::Kind::kList, spelt_out(result.hosts, hosts, exclusion), ""};
  }
  return result;
}

template <typename T>
T pattern_value(const std::vector<std::pair<std::string, T>>& pattern, const std::string& module, T fallback, const std::string& where) {
  for (const auto& [key, value] : pattern) {
    if (Regex("(.*\\.)?(" + key + ")", where, ErrorKind::kConfig).matches_whole(module)) {
      return value;
    }
  }
  return fallback;
}

template int64_t pattern_value(const std::vector<std::pair<std::string, int64_t>>&, const std::string&, int64_t, const std::string&);
template double pattern_value(const std::vector<std::pair<std::string, double>>&, const std::string&, double, const std::string&);

}  // namespace lora::peft
