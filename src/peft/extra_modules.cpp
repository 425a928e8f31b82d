#include "peft/extra_modules.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/peft/task.h"
#include "peft/module_hints.h"
#include "peft/targets.h"
#include "peft/unquantised.h"

namespace lora::peft {

namespace {

using at::Tensor;

const char* const kSave = "adapter.modules_to_save";
const char* const kTokens = "adapter.trainable_token_indices";

/// A separate leaf tensor, float32 or wider whatever the dtype of the base.
Tensor trained_copy(const Tensor& base) {
  const at::ScalarType wide = at::promote_types(base.scalar_type(), at::kFloat);
  return base.detach().to(wide, /*non_blocking=*/false, /*copy=*/true).contiguous().requires_grad_(true);
}

class Attacher {
 public:
  Attacher(const ExtraOptions& options, nn::Model& model, const std::set<std::string>& adapted, const std::string& adapter)
      : options_(options), model_(model), head_(model.head()), adapted_(adapted), adapter_(adapter), hosts_(model.hosts()) {}

  ExtraModules attach() {
    choose_saved();
    for (nn::Host* host : hosts_) {
      if (saved_.count(host) > 0) {
        save_whole(*host);
      } else if (options_.bias != TrainedBias::kNone) {
        train_biases(*host);
      }
    }
    if (options_.bias != TrainedBias::kNone && num_biases_ == 0) {
      log::warn("[adapter.bias] none of the modules that it applies to has a bias: nothing is added");
    }
    train_tokens();
    return std::move(result_);
  }

 private:
  /// PEFT lists the heads of all families, and so do saved adapters of other tools.
  bool may_be_absent(const std::string& entry) const {
    const std::vector<std::string>& optional = options_.task_modules;
    if (std::find(optional.begin(), optional.end(), entry) != optional.end()) {
      return true;
    }
    if (options_.init_from) {
      log::warn("[" + std::string(kSave) + "] '" + entry + "' is no module of this model, and is ignored, as in PEFT");
    }
    return options_.init_from.has_value();
  }

  void choose_saved() {
    for (const std::string& entry : options_.modules_to_save) {
      TargetMatch match{"modules_to_save " + entry, {}};
      for (const nn::Host* host : hosts_) {
        if (is_within(host->name(), entry)) {
          match.hosts.push_back(host->name());
          saved_.insert(host);
        }
      }
      if (match.hosts.empty() && may_be_absent(entry)) {
        continue;
      }
      if (match.hosts.empty()) {
        config_error(kSave, "matches no module: found '" + entry + "', expected the end of a name such as " + join(last_names()) + "." +
                                module_hint(entry, last_names()));
      }
      result_.matches.push_back(std::move(match));
    }
    const nn::Host* embeddings = input_embeddings(model_);
    if (ties_head() && saved_.count(embeddings) + saved_.count(head_) > 0) {
      saved_.insert(embeddings);
      saved_.insert(head_);
    }
    for (const nn::Host* host : saved_) {
      if (!host->can_be_saved()) {
        config_error(kSave,
                     "cannot save '" + host->name() + "' (" + host->kind() +
                         "), whose weights are separate tensors in the base's files and one tensor in PEFT's: found it within an entry, "
                         "expected modules such as " +
                         hosts_.back()->name());
      }
      if (adapted_.count(host->name()) > 0) {
        config_error(kSave, "a module cannot be both adapted and saved whole: found '" + host->name() +
                                "' among the targets too. Exclude it with exclude_modules, or give a longer name here.");
      }
    }
  }

  /// Whether replacements of the embeddings apply to the head too.
  bool ties_head() const { return options_.ensure_weight_tying && is_head_tied() && input_embeddings(model_) != nullptr; }

  bool is_head_tied() const { return head_ != nullptr && head_->tied(); }

  void save_whole(nn::Host& host) {
    for (nn::BaseWeight& weight : host.weights()) {
      const std::string& name = weight.parameter().name;
      if (&host == head_ && !weight.owned() && ties_head()) {
        // The embeddings come before the head.
        weight.replace(adapter_, result_.trained.front().held.tensor);
        result_.aliases.emplace_back(HeldTensor{{name, result_.trained.front().held.tensor}});
      } else {
        require_unquantised(weight, kSave, "trains whole weights",
                            "Make the module a target instead, or use the model that was not quantised.");
        train(weight, "");
      }
    }
  }

  void train_biases(nn::Host& host) {
    const bool is_adapted = adapted_.count(host.name()) > 0;
    for (nn::BaseWeight& weight : host.weights()) {
      if (weight.parameter().name.ends_with(".bias") && (is_adapted || options_.bias == TrainedBias::kAll)) {
        train(weight, is_adapted ? ".base_layer" : "");
        ++num_biases_;
      }
    }
  }

  /// @param wrapper of PEFT around the module, in the file.
  void train(nn::BaseWeight& weight, const std::string& wrapper) {
    result_.trained.push_back(train_copy(weight, adapter_, wrapper));
  }

  void train_tokens() {
    const TokenIndices* of_embeddings = nullptr;
    const TokenIndices* of_head = nullptr;
    for (const TokenIndices& indices : options_.trainable_token_indices) {
      (&layer_of(indices) == head_ ? of_head : of_embeddings) = &indices;
    }
    const bool is_tied = is_head_tied() && of_embeddings != nullptr && &layer_of(*of_embeddings) == input_embeddings(model_);
    const bool is_same = of_head == nullptr || (of_embeddings != nullptr && of_head->ids == of_embeddings->ids);
    if (is_tied && !is_same && options_.ensure_weight_tying) {
      config_error(kTokens, "ensure_weight_tying needs the same tokens for the embeddings and the tied head, as in PEFT");
    }
    for (const TokenIndices& indices : options_.trainable_token_indices) {
      if (!(is_tied && is_same && &indices == of_head)) {
        attach_rows(layer_of(indices), indices.ids, is_tied && is_same);
      }
    }
  }

  /// The embedding or head that the indices belong to.
  nn::MatrixHost& layer_of(const TokenIndices& indices) {
    for (nn::Host* host : hosts_) {
      const bool has_tokens = dynamic_cast<nn::Embedding*>(host) != nullptr || host == head_;
      if (has_tokens && (indices.layer.empty() || host->name().ends_with(indices.layer))) {
        return dynamic_cast<nn::MatrixHost&>(*host);
      }
    }
    config_error(kTokens, "matches neither an embedding nor the head: found '" + indices.layer + "', expected the end of a name such as " +
                              (input_embeddings(model_) == nullptr ? "" : input_embeddings(model_)->name()) +
                              (head_ == nullptr ? "" : " or " + head_->name()));
  }

  void attach_rows(nn::MatrixHost& host, const std::vector<int64_t>& ids, bool with_head) {
    require_free(host);
    const nn::BaseWeight& weight = host.weights().front();
    const int64_t vocab_size = weight.shape()[0];
    require_token_ids(ids, vocab_size, kTokens);
    const Tensor rows_ND = trained_copy(weight.base_rows(ids));
    const nn::TokenRows rows(adapter_, at::tensor(ids, at::kLong).to(weight.device()), rows_ND, vocab_size);
    TargetMatch match{"trainable_token_indices", {host.name()}};
    host.attach(rows);
    if (with_head) {
      require_free(*head_);
      head_->attach(rows);
      match.hosts.push_back(head_->name());
    }
    result_.trained.push_back({{{host.name() + ".weight", rows_ND}, ids}, /*weight_decay=*/true});
    result_.matches.push_back(std::move(match));
  }

  void require_free(const nn::MatrixHost& host) {
    if (!with_tokens_.insert(&host).second) {
      config_error(kTokens, "found two lists for '" + host.name() + "', expected one");
    }
    if (saved_.count(&host) > 0 || adapted_.count(host.name()) > 0) {
      config_error(kTokens, "a layer with trained tokens cannot also be " +
                                std::string(saved_.count(&host) > 0 ? "saved whole" : "adapted") + ": found '" + host.name() + "' among " +
                                (saved_.count(&host) > 0 ? "modules_to_save" : "the targets") + " too. Remove one of them.");
    }
  }

  /// The distinct last parts of the modules' names.
  std::vector<std::string> last_names() const {
    std::vector<std::string> names;
    for (const nn::Host* host : hosts_) {
      const std::string last = host->name().substr(host->name().rfind('.') + 1);
      if (std::find(names.begin(), names.end(), last) == names.end()) {
        names.push_back(last);
      }
    }
    return names;
  }

  const ExtraOptions& options_;
  nn::Model& model_;
  nn::Linear* head_;  ///< null: the model has none over the vocabulary
  const std::set<std::string>& adapted_;
  const std::string& adapter_;
  std::vector<nn::Host*> hosts_;
  std::set<const nn::Host*> saved_;
  std::set<const nn::Host*> with_tokens_;
  int64_t num_biases_ = 0;
  ExtraModules result_;
};

}  // namespace

ExtraModules::Trained train_copy(nn::BaseWeight& weight, const std::string& adapter_name, const std::string& wrapper) {
  const Tensor copy = trained_copy(weight.base());
  weight.replace(adapter_name, copy);
  return {{{weight.parameter().name, copy}, {}, false, wrapper}, weight.parameter().weight_decay};
}

void require_token_ids(std::vector<int64_t> ids, int64_t vocab_size, const std::string& where) {
  std::sort(ids.begin(), ids.end());
  if (ids.back() >= vocab_size) {
    config_error(where, "found the token " + std::to_string(ids.back()) + ", expected ids below the vocabulary size, " +
                            std::to_string(vocab_size));
  }
  const auto doubled = std::adjacent_find(ids.begin(), ids.end());
  if (doubled != ids.end()) {
    config_error(where, "found the token " + std::to_string(*doubled) + " twice, expected each id once");
  }
}

ExtraModules attach_extra_modules(const ExtraOptions& options, nn::Model& model, const std::set<std::string>& adapted,
                                  const std::string& adapter_name) {
  return Attacher(options, model, adapted, adapter_name).attach();
}

}  // namespace lora::peft
