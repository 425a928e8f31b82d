#include "lora/io/checkpoint.h"

namespace lora::io {

RenamedSource::RenamedSource(Checkpoint& checkpoint, const std::function<std::string(const std::string&)>& model_name)
    : checkpoint_(checkpoint) {
  for (const std::string& name : checkpoint.names()) {
    const std::string of_model = model_name(name);
    if (of_model != name) {
      file_names_.emplace(of_model, name);
    }
  }
}

StoredWeight RenamedSource::weight(const std::string& name, const std::vector<int64_t>& shape, WeightRole role) {
  return checkpoint_.weight(file_name(name), shape, role);
}

const std::string& RenamedSource::file_name(const std::string& name) const {
  const auto found = file_names_.find(name);
  return found == file_names_.end() ? name : found->second;
}

}  // namespace lora::io
