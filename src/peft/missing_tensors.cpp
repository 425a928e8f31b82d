#include "peft/missing_tensors.h"

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "peft/keys.h"
#include "peft/report.h"

namespace lora::peft {

namespace {

void warn(const std::set<std::string>& names, const std::string& one, const std::string& several, const std::string& where) {
  if (!names.empty()) {
    log::warn("[" + where + "] has no tensors of " + counted(static_cast<int64_t>(names.size()), one, several) + " (" +
              join({names.begin(), names.end()}, ", ", kNamesShown) + "), which stay as in the base, like in PEFT");
  }
}

}  // namespace

std::vector<AdapterTensor> without_missing(const std::vector<AdapterTensor>& tensors, const AdapterFolder& file, const MayMiss& may_miss) {
  const std::string where = file.weights_file().string();
  std::set<std::string> in_file;  // modules with a part of a pair
  for (const auto& [name, stored] : file.tensors()) {
    if (is_of_pair(stored.role)) {
      in_file.insert(stored.module);
    }
  }
  std::vector<AdapterTensor> kept;
  std::set<std::string> biases, pairs;
  bool has_pair = false;
  for (const AdapterTensor& tensor : tensors) {
    const bool is_part = is_of_pair(tensor.role);
    const bool is_stored = file.find(tensor.name) != nullptr;
    has_pair = has_pair || (is_stored && is_part);
    if (!is_stored && may_miss.biases && !is_part && tensor.name.ends_with(".bias")) {
      biases.insert(tensor.name);
    } else if (!is_stored && may_miss.idle_pairs && is_part && in_file.count(tensor.module) == 0) {
      pairs.insert(tensor.module);
    } else if (is_stored || may_miss.names.count(tensor.name) == 0) {
      kept.push_back(tensor);
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
