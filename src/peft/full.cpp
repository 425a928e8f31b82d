#include <ATen/ATen.h>

#include "lora/base/file.h"
#include "lora/io/dtype_name.h"
#include "lora/peft/method.h"
#include "peft/tensor_file.h"
#include "peft/unquantised.h"

namespace lora::peft {

namespace {

const char* const kModelFile = "model.safetensors";

class Full : public Method {
 public:
  Full(nn::Model& model, Json config, std::map<std::string, std::string> file_names)
      : config_(std::move(config)), file_names_(std::move(file_names)), parameters_(model.base_parameters()) {
    config_[config_.contains("torch_dtype") ? "torch_dtype" : "dtype"] = io::dtype_name(model.dtype());
    for (const nn::Host* host : model.hosts()) {
      for (const nn::BaseWeight& weight : host->weights()) {
        require_unquantised(weight, "adapter", "without an adapter every weight is trained",
                            "Train an adapter, or use the model that was not quantised.");
      }
    }
    TargetMatch everything{"every base weight", {}};
    for (const nn::Parameter& parameter : parameters_) {
      parameter.tensor.set_requires_grad(true);
      everything.hosts.push_back(parameter.name);
    }
    matches_.push_back(std::move(everything));
  }

  std::string name() const override { return "full fine-tuning"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return matches_; }
  std::string weights_file() const override { return kModelFile; }

  void save(const std::filesystem::path& folder) const override {
    require_finite(file_tensors());
    io::save_tensors(folder / kModelFile, file_tensors());
    write_file_atomically(folder / "config.json", config_.dump(2) + "\n");
  }

  void load(const std::filesystem::path& folder) override {
    const io::SafetensorsFile file(folder / kModelFile);
    StoredTensors stored;
    for (const std::string& name : file.names()) {
      stored.emplace(name, file.tensor(name));
    }
    load_into((folder / kModelFile).string(), stored, file_tensors());
  }

 private:
  std::vector<io::NamedTensor> file_tensors() const {
    std::vector<io::NamedTensor> tensors;
    for (const nn::Parameter& parameter : parameters_) {
      const auto renamed = file_names_.find(parameter.name);
      tensors.push_back({renamed == file_names_.end() ? parameter.name : renamed->second, parameter.tensor.detach()});
    }
    return tensors;
  }

  Json config_;
  std::map<std::string, std::string> file_names_;
  std::vector<nn::Parameter> parameters_;
  std::vector<TargetMatch> matches_;
};

}  // namespace

std::unique_ptr<Method> attach_full(nn::Model& model, const Json& config, std::map<std::string, std::string> file_names) {
  return std::make_unique<Full>(model, config, std::move(file_names));
}

}  // namespace lora::peft
