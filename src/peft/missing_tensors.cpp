#include "peft/missing_tensors.h"

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "peft/report.h"

namespace lora::peft {

namespace {


/// The module of a pair's tensor; empty for another tensor.
std::string pair_module(const std::string& name) {
  const size_t part = name.find(".lora_");
  return part == std::string::npos ? "" : name.substr(0, part);
}

void warn(const std::set<std::string>& names, const std::string& one, const std::string& several, const std::string& where) {
  if (!names.empty()) {
    log::warn("[" + where + "] has no tensors of " + counted(static_cast<int64_t>(names.size()), one, several) + " (" +
              join({names.begin(), names.end()}, ", ", kNamesShown) + "), which stay as in the base, like in PEFT");
  }
}

}  // namespace

std::vector<io::NamedTensor> without_missing(const std::vector<io::NamedTensor>& tensors, const StoredTensors& stored,
                                             const MayMiss& may_miss, const std::string& where) {
  std::set<std::string> in_file;  // modules with a part of a pair
  for (const auto& [name, tensor] : stored) {
    in_file.insert(pair_module(name));
  }
  std::vector<io::NamedTensor> kept;
  std::set<std::string> biases, pairs;
  bool has_pair = false;
  for (const io::NamedTensor& named : tensors) {
    const std::string module = pair_module(named.name);
    const bool is_stored = stored.count(named.name) > 0;
    has_pair = has_pair || (is_stored && !module.empty());
    if (!is_stored && may_miss.biases && module.empty() && named.name.ends_with(".bias")) {
      biases.insert(named.name);
    } else if (!is_stored && may_miss.idle_pairs && !module.empty() && in_file.count(module) == 0) {
      pairs.insert(module);
    } else if (is_stored || may_miss.names.count(named.name) == 0) {
      kept.push_back(named);
    }
  }
  if (!has_pair && !pairs.empty()) {
    model_error(where, "has no tensors of the modules in target_modules: found none of " + std::to_string(pairs.size()) + " (" +
                           join({pairs.begin(), pairs.end()}, ", ", kNamesShown) + "). Likely cause: an adapter of another model.");
  }
  warn(biases, "trained bias", "trained biases", where);
  warn(pairs, "module in target_modules", "modules in target_modules", where);
  return kept;
}

}  // namespace lora::peft
