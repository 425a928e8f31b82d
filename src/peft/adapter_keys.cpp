#include "peft/adapter_keys.h"

#include <algorithm>
#include <array>

#include "lora/base/text.h"
#include "lora/peft/task.h"

namespace lora::peft {

namespace {

using Path = std::vector<std::string>;


/// A part of a low-rank update, and whether its key ends with the name of a tensor.
struct PairPart {
  std::string_view name;
  bool has_weight;
};
constexpr std::array<PairPart, 5> kPairParts{
    {{"lora_A", true}, {"lora_B", true}, {"lora_embedding_A", false}, {"lora_embedding_B", false}, {"lora_magnitude_vector", false}}};

/// Wrappers of other libraries, whose names occur in keys.
constexpr std::array<std::string_view, 3> kForeignWrappers{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"};

std::string joined_path(Path::const_iterator begin, Path::const_iterator end) {
  return join(Path(begin, end), ".");
}

/// The parts of the key without prefixes and foreign wrappers, and whether it had PEFT's prefix.
std::pair<Path, bool> path_of(const std::string& key) {
  Path path = split(key, '.');
  std::erase_if(path, [](const std::string& part) {
    return std::find(kForeignWrappers.begin(), kForeignWrappers.end(), part) != kForeignWrappers.end();
  });
  bool has_prefix = false;
  while (path.size() > 2) {
    if (path[0] == "base_model" && path[1] == "model") {
      path.erase(path.begin(), path.begin() + 2);
      has_prefix = true;
    } else if (path[0] == "module" && path[1] == "base_model") {  // DistributedDataParallel
      path.erase(path.begin());
    } else {
      break;
    }
  }
  return {std::move(path), has_prefix};
}

const PairPart* find_pair_part(const std::string& name) {
  const auto* const found = std::find_if(kPairParts.begin(), kPairParts.end(), [&name](const PairPart& part) { return part.name == name; });
  return found == kPairParts.end() ? nullptr : found;
}

Path::const_iterator find_in(const Path& path) {
  return std::find_if(path.begin(), path.end(), [](const std::string& part) { return find_pair_part(part) != nullptr; });
}

/// What follows the part's name: the adapter's name and the tensor's name, each if present.
struct PairEnd {
  std::string adapter;
  std::string tensor;
};
std::optional<PairEnd> pair_end(const Path& path, Path::const_iterator part) {
  const auto is_tensor = [&](const std::string& name) { return name == "weight" || (name == "bias" && *part == "lora_B"); };
  PairEnd end;
  auto next = part + 1;
  if (next != path.end() && (!is_tensor(*next) || next + 1 != path.end())) {
    end.adapter = *next++;
  }
  if (next != path.end()) {
    end.tensor = *next++;
  }
  const bool may_have_tensor = find_pair_part(*part)->has_weight || *part == "lora_magnitude_vector";
  const bool fits = end.tensor.empty() ? !find_pair_part(*part)->has_weight : may_have_tensor && is_tensor(end.tensor);
  return next == path.end() && fits ? std::optional(end) : std::nullopt;
}

std::optional<AdapterKey> parse_pair(const Path& path, Path::const_iterator part) {
  const std::optional<PairEnd> end = pair_end(path, part);
  if (!end || part == path.begin()) {
    return std::nullopt;
  }
  AdapterKey key;
  key.module = joined_path(path.begin(), part);
  key.part = *part + (find_pair_part(*part)->has_weight ? "." + end->tensor : "");
  return key;
}

/// Removes a wrapper's name from the path, with the adapter's name if that follows. Returns whether the wrapper was there.
bool erase_wrapper(Path& path, const std::string& wrapper, const std::string& adapter = "") {
  const auto found = std::find(path.begin(), path.end(), wrapper);
  if (found == path.end()) {
    return false;
  }
  const auto next = found + 1;
  path.erase(found, !adapter.empty() && next != path.end() && *next == adapter ? next + 1 : next);
  return true;
}

std::vector<std::string> names_in(const Json& config, const char* key) {
  std::vector<std::string> names;
  const auto list = config.find(key);
  if (list != config.end() && list->is_array()) {
    for (const Json& entry : *list) {
      if (entry.is_string()) {
        names.push_back(entry.get<std::string>());
      }
    }
  }
  return names;
}

}  // namespace

AdapterKeys::AdapterKeys(const Json& config) : saved_(names_in(config, "modules_to_save")) {
  const auto value = [&config](const char* key, const char* fallback) {
    const auto found = config.find(key);
    return found != config.end() && found->is_string() ? found->get<std::string>() : std::string(fallback);
  };
  trains_biases_ = value("bias", "none") != "none";
  const std::string task = value("task_type", "");
  if (task == kSequenceClassification || task == "TOKEN_CLS") {
    saved_.insert(saved_.end(), {"classifier", "score"});
  } else if (task == "QUESTION_ANS") {
    saved_.emplace_back("qa_outputs");
  }
}

std::string AdapterKeys::adapter_name(const std::string& key) {
  const Path path = path_of(key).first;
  const auto part = find_in(path);
  const std::optional<PairEnd> end = part == path.end() ? std::nullopt : pair_end(path, part);
  return end ? end->adapter : "";
}

std::optional<AdapterKey> AdapterKeys::parse(const std::string& key) const {
  auto [path, has_prefix] = path_of(key);
  if (const auto part = find_in(path); part != path.end()) {
    return parse_pair(path, part);
  }
  return has_prefix ? parse_whole(std::move(path)) : std::nullopt;
}

/// A tensor of the base or one that replaces it, possibly under the name of one of PEFT's wrappers.
std::optional<AdapterKey> AdapterKeys::parse_whole(Path path) const {
  AdapterKey key;
  if (const auto tokens = std::find(path.begin(), path.end(), "token_adapter"); tokens != path.end()) {
    const std::string what = tokens + 1 == path.end() ? "" : *(tokens + 1);
    if (what == "trainable_tokens_delta") {
      return AdapterKey{joined_path(path.begin(), tokens), joined_path(tokens, tokens + 2), TensorRole::kTokenRows};
    }
    if (what != "base_layer") {
      key.is_idle = what == "token_indices" || what == "trainable_tokens_original";
      return key.is_idle ? std::optional(key) : std::nullopt;
    }
    path.erase(tokens);
  }
  const bool is_base_layer = erase_wrapper(path, "base_layer");
  key.is_idle = erase_wrapper(path, "original_module", adapter_name_);
  key.is_copy = erase_wrapper(path, "modules_to_save", adapter_name_);
  const bool is_lora = std::any_of(path.begin(), path.end(), [](const std::string& part) { return part.starts_with("lora_"); });
  if (is_lora || path.size() < 2 || (path.back() != "weight" && path.back() != "bias")) {
    return std::nullopt;
  }
  key.part = path.back();
  key.module = joined_path(path.begin(), path.end() - 1);
  const bool is_trained_bias = key.part == "bias" && trains_biases_;
  const bool is_trained = key.is_copy || is_trained_bias || (!is_base_layer && is_saved(key.module));
  key.role = is_trained && !key.is_idle ? TensorRole::kTrained : TensorRole::kBase;
  return key;
}

bool AdapterKeys::is_saved(const std::string& module) const {
  return std::any_of(saved_.begin(), saved_.end(), [&module](const std::string& entry) { return is_within(module, entry); });
}

}  // namespace lora::peft
