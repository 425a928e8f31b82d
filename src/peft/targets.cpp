#include "peft/targets.h"

#include <algorithm>
#include <memory>
#include <set>

#include "lora/base/log.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/peft/task.h"
#include "peft/layer_filter.h"
#include "peft/module_hints.h"
#include "peft/module_names.h"

namespace lora::peft {

namespace {

const char* const kTargets = "adapter.target_modules";

std::string last_part(const std::string& module) {
  return module.substr(module.rfind('.') + 1);
}

std::vector<std::string> last_parts(const std::vector<nn::Host*>& hosts) {
  std::vector<std::string> parts;
  for (const nn::Host* host : hosts) {
    parts.push_back(last_part(host->name()));
  }
  return parts;
}

/// The possible targets: the distinct last parts of the modules' names, with counts.
std::string available(const std::vector<nn::Host*>& hosts) {
  std::vector<std::string> order;
  std::map<std::string, int> counts;
  for (const nn::Host* host : hosts) {
    if (host->takes_low_rank() && counts[last_part(host->name())]++ == 0) {
      order.push_back(last_part(host->name()));
    }
  }
  for (std::string& name : order) {
    name += " (" + std::to_string(counts[name]) + ")";
  }
  return join(order);
}

class Exclusion {
 public:
  explicit Exclusion(const TargetOptions& options)
      : choice_(options.exclude_modules), saved_(options.modules_to_save), of_task_(options.task_modules) {
    if (choice_.kind == ModuleChoice::Kind::kRegex) {
      regex_.emplace(choice_.regex, "adapter.exclude_modules", ErrorKind::kConfig);
    }
  }
  bool excludes(const std::string& module) const {
    // A module that is saved whole is not adapted, nor is any module within it.
    const auto saves = [&](const std::string& entry) { return ("." + module + ".").find("." + entry + ".") != std::string::npos; };
    const auto is_of_task = [&](const std::string& entry) { return is_within(module, entry); };  // DistilBERT's pre_classifier
    if (std::any_of(of_task_.begin(), of_task_.end(), is_of_task)) {
      return true;
    }
    return is_named(module) || std::any_of(saved_.begin(), saved_.end(), saves);
  }
  void warn_if_idle(const std::vector<nn::Host*>& hosts) const {
    if (choice_.kind != ModuleChoice::Kind::kNone &&
        std::none_of(hosts.begin(), hosts.end(), [&](const nn::Host* h) { return is_named(h->name()); })) {
      const std::string hint = choice_.names.empty() ? "" : module_hint(choice_.names.front(), last_parts(hosts));
      log::warn("[adapter.exclude_modules] excludes nothing: no module of the model matches" + (hint.empty() ? "" : "." + hint));
    }
  }

 private:
  bool is_named(const std::string& module) const {
    return regex_ ? regex_->matches_whole(module) : std::any_of(choice_.names.begin(), choice_.names.end(), [&](const std::string& entry) {
      return is_name_or_suffix(module, entry);
    });
  }

  const ModuleChoice& choice_;
  const std::vector<std::string>& saved_;
  const std::vector<std::string>& of_task_;
  std::optional<Regex> regex_;
};

/// A host whose matrix is neither a projection's nor a table.
bool is_convolution(const nn::Host& host) {
  return dynamic_cast<const nn::MatrixHost*>(&host) != nullptr && dynamic_cast<const nn::Linear*>(&host) == nullptr &&
         dynamic_cast<const nn::Embedding*>(&host) == nullptr;
}

/// PEFT starts a convolution's A and B from random numbers only.
void require_start_of_convolution(const nn::Host& host, LoraInit init) {
  const bool is_random = init == LoraInit::kDefault || init == LoraInit::kRandom || init == LoraInit::kGaussian;
  if (!is_random && is_convolution(host)) {
    config_error("adapter.init_lora_weights", "has no meaning for convolutions: found \"" + std::string(kNamedInits.name(init)) +
                                                  "\" and the convolution '" + host.name() +
                                                  "' among the targets, expected true, false or \"gaussian\"");
  }
}

/// Throws if the method cannot be attached to the host.
using RequireAdaptable = std::function<void(const nn::Host& host)>;

[[noreturn]] void fail_unadaptable(const nn::Host& host, const std::string& method, const std::string& expected) {
  config_error(kTargets, method + " cannot be attached to '" + host.name() + "': found a module of kind " + host.kind() + ", expected " +
                             expected);
}

void require_adaptable_by_lora(const nn::Host& host, const LoraOptions& options) {
  if (!host.takes_low_rank()) {
    fail_unadaptable(host, "LoRA", "Linear or Embedding");
  }
  require_start_of_convolution(host, options.init);
  if (dynamic_cast<const nn::Embedding*>(&host) == nullptr) {
    return;
  }
  if (options.lora_bias) {
    config_error("adapter.lora_bias",
                 "cannot be used with embeddings, as in PEFT: found the target '" + host.name() + "', expected projections");
  }
  if (changes_base(options.init)) {
    config_error("adapter.init_lora_weights", "\"" + std::string(kNamedInits.name(options.init)) +
                                                  "\" starts from a part of a projection's weight: found the embedding '" + host.name() +
                                                  "' among the targets. Remove it, or choose another initialization.");
  }
}

[[noreturn]] void fail_unmatched(const std::string& entry, const std::vector<nn::Host*>& hosts, const TargetOptions& options) {
  const std::vector<std::string> parts = last_parts(hosts);
  const bool is_string = options.target_modules.kind == ModuleChoice::Kind::kRegex;
  if (is_string && std::find(parts.begin(), parts.end(), last_part(entry)) != parts.end()) {
    config_error(kTargets, "matches no module: found the string \"" + entry +
                               "\", which is a regular expression for whole names. Use a list: [\"" + entry + "\"].");
  }
  const std::string reason = options.layers_to_transform ? " in the layers of layers_to_transform" : "";
  config_error(kTargets, "matches no module" + reason + ": found '" + entry + "', expected some of " + available(hosts) + "." +
                             (options.layers_to_transform ? "" : module_hint(entry, parts)));
}

/// all-linear as a list: the last parts of the names if they choose the same modules, else whole names.
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

/// The entries of the choice.
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

/// The chosen targets, or the family's default.
ModuleChoice targets_of(const TargetOptions& options, const std::vector<std::string>& defaults, nn::Model& model) {
  if (options.target_modules.kind != ModuleChoice::Kind::kNone) {
    return options.target_modules;
  }
  ModuleChoice targets{ModuleChoice::Kind::kList, defaults, ""};
  if (targets.names.empty()) {
    config_error(kTargets, "this model's family has no default targets: found null, expected some of " + available(model.hosts()));
  }
  return targets;
}

/// Decides whether an entry of the choice matches a host.
class Meaning {
 public:
  Meaning(const TargetOptions& options, const ModuleChoice& targets, nn::Model& model)
      : layers_(options), all_linear_(targets.kind == ModuleChoice::Kind::kAllLinear), head_(model.head()) {
    if (targets.kind == ModuleChoice::Kind::kRegex) {
      regex_.emplace(targets.regex, kTargets, ErrorKind::kConfig);
    }
  }

  bool covers(const std::string& entry, const nn::Host* host) const {
    if (regex_) {
      return regex_->matches_whole(host->name());
    }
    if (all_linear_) {
      return host->counts_as_linear() || (dynamic_cast<const nn::Linear*>(host) != nullptr && host != head_);
    }
    // As in PEFT, layers_to_transform does not apply to a whole name.
    return host->name() == entry || (is_name_or_suffix(host->name(), entry) && layers_.accepts(host->name()));
  }

  /// PEFT's test for ensure_weight_tying, which checks bare names.
  bool covers_embeddings(const std::vector<std::string>& entries) const {
    return std::any_of(entries.begin(), entries.end(), [this](const std::string& entry) {
      return regex_ ? regex_->matches_whole("embed_tokens") || regex_->matches_whole("lm_head")
                    : last_part(entry) == "embed_tokens" || last_part(entry) == "lm_head";
    });
  }

 private:
  LayerFilter layers_;
  bool all_linear_;
  const nn::Linear* head_;  ///< null: the model has none over the vocabulary
  std::optional<Regex> regex_;
};

/// ensure_weight_tying: if the embeddings or the head are a target, the embeddings are adapted and a tied head shares their pair.
void tie_head(const Meaning& meaning, const Exclusion& exclusion, nn::Model& model, std::set<const nn::Host*>& chosen,
              ChosenHosts& result) {
  const nn::Embedding* embeddings = input_embeddings(model);
  nn::Linear* const head = model.head();
  if (head == nullptr || !head->tied() || embeddings == nullptr || !meaning.covers_embeddings(entries_of(result.targets)) ||
      exclusion.excludes(embeddings->name()) || exclusion.excludes(head->name())) {
    return;
  }
  TargetMatch tied{"ensure_weight_tying", {}};
  if (chosen.insert(embeddings).second) {
    tied.hosts.push_back(embeddings->name());
  }
  if (chosen.erase(head) == 0) {
    tied.hosts.push_back(head->name());
  }
  result.tied_head = head;
  result.matches.push_back(std::move(tied));
}

/// Sorts the chosen hosts by kind, in the model's order.
void sort_in(const std::set<const nn::Host*>& chosen, const std::vector<nn::Host*>& hosts, const RequireAdaptable& require_adaptable,
             ChosenHosts& result) {
  for (nn::Host* host : hosts) {
    if (chosen.count(host) == 0) {
      continue;
    }
    require_adaptable(*host);
    if (auto* embedding = dynamic_cast<nn::Embedding*>(host)) {
      result.embeddings.push_back(embedding);
    } else if (is_convolution(*host)) {
      result.convolutions.push_back(&dynamic_cast<nn::MatrixHost&>(*host));
    } else {
      result.hosts.push_back(&dynamic_cast<nn::Linear&>(*host));
    }
  }
}

/// The hosts that the entries match, without the excluded ones. Records them as matches.
std::set<const nn::Host*> matched(const Meaning& meaning, const Exclusion& exclusion, const TargetOptions& options,
                                  const std::vector<nn::Host*>& hosts, bool warns, ChosenHosts& result) {
  std::set<const nn::Host*> chosen;
  const bool is_new = !options.init_from.has_value();  // a saved adapter may have a list for models of several families
  std::vector<std::string> idle;
  for (const std::string& entry : entries_of(result.targets)) {
    TargetMatch match{entry, {}};
    bool means_any = false;
    for (const nn::Host* host : hosts) {
      if (meaning.covers(entry, host)) {
        means_any = true;
        if (!exclusion.excludes(host->name())) {
          match.hosts.push_back(host->name());
          chosen.insert(host);
        }
      }
    }
    // An entry whose modules are all excluded is not an error: PEFT lists them when it spells out all-linear.
    if (!means_any && (is_new || result.targets.kind != ModuleChoice::Kind::kList)) {
      fail_unmatched(entry, hosts, options);
    }
    if (!means_any) {
      idle.push_back(entry);
    }
    result.matches.push_back(std::move(match));
  }
  if (!idle.empty() && chosen.empty()) {
    fail_unmatched(idle.front(), hosts, options);
  }
  if (!idle.empty() && warns) {
    log::warn("[" + std::string(kTargets) + "] names modules that this model does not have, which are ignored, as in PEFT: " + join(idle));
  }
  return chosen;
}

/// Everything that the options choose. Records targets and matches.
std::set<const nn::Host*> chosen_by(const TargetOptions& options, const Exclusion& exclusion, nn::Model& model,
                                    const std::vector<std::string>& default_targets, bool warns, ChosenHosts& result) {
  result.targets = targets_of(options, default_targets, model);
  const Meaning meaning(options, result.targets, model);
  std::set<const nn::Host*> chosen = matched(meaning, exclusion, options, model.hosts(), warns, result);
  if (options.ensure_weight_tying) {
    tie_head(meaning, exclusion, model, chosen, result);
  }
  if (chosen.empty()) {
    config_error(kTargets, "leaves no module to adapt: found all matching modules in exclude_modules or modules_to_save");
  }
  if (warns) {
    exclusion.warn_if_idle(model.hosts());
  }
  return chosen;
}

ChosenHosts choose(const TargetOptions& options, nn::Model& model, const std::vector<std::string>& default_targets,
                   const RequireAdaptable& require_adaptable, bool warns) {
  const std::vector<nn::Host*> hosts = model.hosts();
  ChosenHosts result;
  const Exclusion exclusion(options);
  sort_in(chosen_by(options, exclusion, model, default_targets, warns, result), hosts, require_adaptable, result);
  if (result.targets.kind == ModuleChoice::Kind::kAllLinear) {
    result.targets = {ModuleChoice::Kind::kList, spelt_out(result.hosts, hosts, exclusion), ""};
  }
  return result;
}

}  // namespace

nn::Embedding* input_embeddings(nn::Model& model) {
  for (nn::Host* host : model.hosts()) {
    if (auto* embeddings = dynamic_cast<nn::Embedding*>(host)) {
      return embeddings;
    }
  }
  return nullptr;
}

ChosenHosts choose_hosts(const LoraOptions& options, nn::Model& model, bool warns) {
  const auto require_adaptable = [&options](const nn::Host& host) { require_adaptable_by_lora(host, options); };
  return choose(options, model, model.body->default_target_modules(), require_adaptable, warns);
}

ChosenModules choose_modules(const TargetOptions& options, nn::Model& model, const std::vector<std::string>& default_targets, bool warns) {
  ChosenHosts found;
  const std::set<const nn::Host*> chosen = chosen_by(options, Exclusion(options), model, default_targets, warns, found);
  ChosenModules result{model.hosts(), std::move(found.matches), std::move(found.targets)};
  std::erase_if(result.modules, [&chosen](const nn::Host* host) { return chosen.count(host) == 0; });
  return result;
}

ChosenHosts choose_projections(const TargetOptions& options, nn::Model& model, const std::string& name,
                               const std::vector<std::string>& default_targets, bool warns) {
  const auto require_projection = [&name](const nn::Host& host) {
    if (dynamic_cast<const nn::Linear*>(&host) == nullptr) {
      fail_unadaptable(host, name, "Linear");
    }
  };
  return choose(options, model, default_targets, require_projection, warns);
}

std::function<bool(const std::string& module)> named_targets(const TargetOptions& options) {
  const ModuleChoice& choice = options.target_modules;
  if (choice.kind == ModuleChoice::Kind::kNone || choice.kind == ModuleChoice::Kind::kAllLinear || options.ensure_weight_tying) {
    return [](const std::string&) { return true; };
  }
  const auto exclusion = std::make_shared<Exclusion>(options);
  if (choice.kind == ModuleChoice::Kind::kRegex) {
    const auto regex = std::make_shared<Regex>(choice.regex, kTargets, ErrorKind::kConfig);
    return [=](const std::string& module) { return regex->matches_whole(module) && !exclusion->excludes(module); };
  }
  const auto layers = std::make_shared<LayerFilter>(options);
  return [&choice, exclusion, layers](const std::string& module) {
    const auto is_meant = [&](const std::string& entry) {
      return module == entry || (is_name_or_suffix(module, entry) && layers->accepts(module));
    };
    return std::any_of(choice.names.begin(), choice.names.end(), is_meant) && !exclusion->excludes(module);
  };
}

Regex pattern_regex(const std::string& key, const std::string& where) {
  return Regex("(.*\\.)?(" + key + ")", where, ErrorKind::kConfig);
}

template <typename T>
T pattern_value(const std::vector<std::pair<std::string, T>>& pattern, const std::string& module, T fallback, const std::string& where) {
  for (const auto& [key, value] : pattern) {
    if (pattern_regex(key, where).matches_whole(module)) {
      return value;
    }
  }
  return fallback;
}

template int64_t pattern_value(const std::vector<std::pair<std::string, int64_t>>&, const std::string&, int64_t, const std::string&);
template double pattern_value(const std::vector<std::pair<std::string, double>>&, const std::string&, double, const std::string&);

}  // namespace lora::peft
