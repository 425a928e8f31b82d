#include "app/result_inputs.h"

#include "app/inference.h"

namespace lora::app {

std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request) {
  const models::ModelOptions model = model_options(request);
  std::vector<std::filesystem::path> inputs{model.path, model.tokenizer};
  for (const std::string& adapter : request.adapters) {
    inputs.emplace_back(adapter);
    inputs.emplace_back(adapter.substr(adapter.find('=') + 1));  // NAME=DIR; paths that do not exist are ignored
  }
  return inputs;
}

std::vector<std::filesystem::path> inputs_of(const InferenceRequest& request, const std::vector<std::string>& others) {
  std::vector<std::filesystem::path> inputs = inputs_of(request);
  for (const std::string& other : others) {
    if (!other.empty()) {
      inputs.emplace_back(other);
    }
  }
  return inputs;
}

void require_other_file(const std::optional<ResultFile>& output, const data::Dataset& dataset) {
  for (const data::SourceFile& file : dataset.files) {
    if (output) {
      output->must_not_replace({file.path});
    }
  }
}

}  // namespace lora::app
