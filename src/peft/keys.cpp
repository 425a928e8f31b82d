#include "peft/keys.h"

#include <algorithm>
#include <array>

#include "lora/base/text.h"
#include "lora/peft/file_names.h"
#include "lora/peft/formula_options.h"
#include "lora/peft/replacement_options.h"
#include "lora/peft/task.h"

namespace lora::peft {

namespace {

using Path = std::vector<std::string>;

/// The part of a key that belongs to a role, with the name of the tensor where it is one of a submodule.
struct RolePart {
  ParameterRole role;
  std::string_view name;
  std::string_view tensor;  ///< "": the part is a tensor itself
};
constexpr std::array<RolePart, 7> kParts{{{ParameterRole::kLowRankA, "lora_A", "weight"},
                                          {ParameterRole::kLowRankB, "lora_B", "weight"},
                                          {ParameterRole::kLowRankBias, "lora_B", "bias"},
                                          {ParameterRole::kMagnitude, "lora_magnitude_vector", ""},
                                          {ParameterRole::kEmbeddingA, "lora_embedding_A", ""},
                                          {ParameterRole::kEmbeddingB, "lora_embedding_B", ""},
                                          {ParameterRole::kTokenRows, "token_adapter", "trainable_tokens_delta"}}};

/// The tensors of formulas, after the module's name.
constexpr std::array<std::string_view, 20> kFormulaParts{
    "ia3_l",     "vera_lambda_b", "vera_lambda_d", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b",  "lokr_w1",         "lokr_w1_a",
    "lokr_w1_b", "lokr_w2",       "lokr_w2_a",     "lokr_w2_b", "boft_R",    "boft_s",    "miss_block", "randlora_lambda", "randlora_gamma",
    "hra_u",     "oft_R.weight"};
/// AdaLoRA's, whose names are parts of LoRA's.
constexpr std::array<std::string_view, 3> kSingularParts{"lora_A", "lora_B", "lora_E"};
/// Those that all modules share: after "base_model." alone. PEFT repeats RandLoRA's for each module.
constexpr std::array<std::string_view, 4> kSharedParts{"vera_A", "vera_B", "randlora_A", "randlora_B"};
constexpr std::string_view kSharedPrefix = "base_model";

std::string part_text(const RolePart& part) {
  return std::string(part.name) + (part.tensor.empty() ? "" : "." + std::string(part.tensor));
}

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

bool is_pair_part(const std::string& name) {
  return std::any_of(kParts.begin(), kParts.end(), [&name](const RolePart& part) { return is_of_pair(part.role) && part.name == name; });
}

/// The part with this name and tensor; null if there is none. PEFT also writes magnitudes with a tensor's name.
const RolePart* find_part(const std::string& name, const std::string& tensor) {
  const auto* const found = std::find_if(kParts.begin(), kParts.end(), [&](const RolePart& part) {
    return part.name == name && (part.tensor == tensor || (part.role == ParameterRole::kMagnitude && tensor == "weight"));
  });
  return found == kParts.end() ? nullptr : found;
}

Path::const_iterator find_in(const Path& path) {
  return std::find_if(path.begin(), path.end(), is_pair_part);
}

/// What follows the part's name: the adapter's name, if it is there, and what the tensor is.
struct PairEnd {
  std::string adapter;
  const RolePart* part;
};
std::optional<PairEnd> pair_end(const Path& path, Path::const_iterator part) {
  const auto is_tensor = [&](const std::string& name) { return name == "weight" || (name == "bias" && *part == "lora_B"); };
  std::string adapter, tensor;
  auto next = part + 1;
  if (next != path.end() && (!is_tensor(*next) || next + 1 != path.end())) {
    adapter = *next++;
  }
  if (next != path.end()) {
    tensor = *next++;
  }
  const RolePart* const found = next == path.end() ? find_part(*part, tensor) : nullptr;
  return found != nullptr ? std::optional(PairEnd{std::move(adapter), found}) : std::nullopt;
}

std::optional<AdapterKey> parse_pair(const Path& path, Path::const_iterator part) {
  const std::optional<PairEnd> end = pair_end(path, part);
  if (!end || part == path.begin()) {
    return std::nullopt;
  }
  return AdapterKey{joined_path(path.begin(), part), part_text(*end->part), end->part->role};
}

template <size_t N>
bool is_in(const std::array<std::string_view, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// A tensor of a formula, or of the modules together.
std::optional<AdapterKey> parse_formula(const Path& path) {
  if (path.size() == 2 && path[0] == kSharedPrefix && is_in(kSharedParts, path[1])) {
    return AdapterKey{"", path[1], ParameterRole::kFormula};
  }
  for (size_t length = 1; length <= 2 && length < path.size(); ++length) {
    const auto end = path.end() - static_cast<std::ptrdiff_t>(length);
    const std::string part = joined_path(end, path.end());
    if (is_in(kFormulaParts, part)) {
      return AdapterKey{joined_path(path.begin(), end), part, ParameterRole::kFormula};
    }
    if (is_in(kSharedParts, part)) {
      AdapterKey repeated{joined_path(path.begin(), end), part, ParameterRole::kFormula};
      repeated.is_idle = true;
      return repeated;
    }
  }
  return std::nullopt;
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

std::string tensor_name(const std::string& module, ParameterRole role) {
  const auto* const part = std::find_if(kParts.begin(), kParts.end(), [role](const RolePart& known) { return known.role == role; });
  return module + "." + part_text(*part);
}

std::string unwrapped_rows_key(const std::string& key) {
  const std::string wrapper = ".token_adapter", end = wrapper + ".trainable_tokens_delta";
  return key.ends_with(end) ? key.substr(0, key.size() - end.size()) + end.substr(wrapper.size()) : key;
}

std::string shared_key(const std::string& name) {
  return std::string(kSharedPrefix) + "." + name;
}

std::string file_key(const std::string& name) {
  return kKeyPrefix + name;
}

AdapterKeys::AdapterKeys(const Json& config) : saved_(names_in(config, "modules_to_save")) {
  const auto value = [&config](const char* key, const char* fallback) {
    const auto found = config.find(key);
    return found != config.end() && found->is_string() ? found->get<std::string>() : std::string(fallback);
  };
  trains_biases_ = value("bias", "none") != "none" || value("peft_type", "") == kBitFit;
  is_adalora_ = value("peft_type", "") == kAdaLora;
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
  if (is_adalora_ && path.size() > 1 && is_in(kSingularParts, path.back())) {
    return AdapterKey{joined_path(path.begin(), path.end() - 1), path.back(), ParameterRole::kFormula};
  }
  if (const auto part = find_in(path); part != path.end()) {
    return parse_pair(path, part);
  }
  if (std::optional<AdapterKey> of_formula = parse_formula(path)) {
    return of_formula;
  }
  return has_prefix ? parse_whole(std::move(path)) : std::nullopt;
}

/// A tensor of the base or one that replaces it, possibly under the name of one of PEFT's wrappers.
std::optional<AdapterKey> AdapterKeys::parse_whole(Path path) const {
  AdapterKey key;
  if (path.size() > 1 && path.back() == "trainable_tokens_delta" && path[path.size() - 2] != "token_adapter") {
    key.is_idle = path[path.size() - 2] == "base_layer";  // a head that is tied and a target: PEFT wraps it twice
    if (key.is_idle) {
      return key;
    }
    path.insert(path.end() - 1, "token_adapter");  // TRAINABLE_TOKENS wraps no module
  }
  if (const auto tokens = std::find(path.begin(), path.end(), "token_adapter"); tokens != path.end()) {
    const std::string what = tokens + 1 == path.end() ? "" : *(tokens + 1);
    if (const RolePart* rows = find_part(*tokens, what)) {
      return AdapterKey{joined_path(path.begin(), tokens), part_text(*rows), rows->role};
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
  const bool is_norm_copy = erase_wrapper(path, kLnTuningWrapper + 1, adapter_name_);
  const bool is_lora = std::any_of(path.begin(), path.end(), [](const std::string& part) { return part.starts_with("lora_"); });
  if (is_lora || path.size() < 2 || (path.back() != "weight" && path.back() != "bias")) {
    return std::nullopt;
  }
  key.part = path.back();
  key.module = joined_path(path.begin(), path.end() - 1);
  const bool is_trained_bias = key.part == "bias" && trains_biases_;
  const bool is_trained = key.is_copy || is_norm_copy || is_trained_bias || (!is_base_layer && is_saved(key.module));
  key.of_base = !is_trained || key.is_idle;
  return key;
}

bool AdapterKeys::is_saved(const std::string& module) const {
  return std::any_of(saved_.begin(), saved_.end(), [&module](const std::string& entry) { return is_within(module, entry); });
}

}  // namespace lora::peft
