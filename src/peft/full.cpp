#include <ATen/ATen.h>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/regex.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/peft/method.h"
#include "peft/tensor_file.h"
#include "peft/unquantised.h"

namespace lora::peft {

namespace {

const char* const kPatterns = "training.train_parameters";

class Full : public Method {
 public:
  Full(nn::Model& model, FullResult result, const std::optional<std::vector<std::string>>& patterns)
      : result_(std::move(result)), weights_(model.base_parameters()), is_partial_(patterns.has_value()) {
    if (result_.component.empty()) {
      Json& config = result_.config;
      config[config.contains("torch_dtype") ? "torch_dtype" : "dtype"] = io::dtype_name(model.dtype());
    }
    for (const nn::Host* host : model.hosts()) {
      for (const nn::BaseWeight& weight : host->weights()) {
        require_unquantised(weight, "adapter", "without an adapter every weight is trained or written",
                            "Train an adapter, or use the model that was not quantised.");
      }
    }
    choose(patterns ? *patterns : std::vector<std::string>{""});
    if (!patterns) {
      matches_.front().entry = "every base weight";
    }
  }

  std::string name() const override { return is_partial_ ? "fine-tuning of some weights" : "full fine-tuning"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return matches_; }
  std::string weights_file() const override { return result_.weights_file(); }

  void save(const std::filesystem::path& folder) const override {
    require_finite(file_tensors());
    std::filesystem::create_directories(folder / result_.component);
    io::save_tensors(folder / weights_file(), file_tensors());
    write_file_atomically(folder / result_.component / "config.json", result_.config.dump(2) + "\n");
  }

  void load(const std::filesystem::path& folder) override {
    const io::SafetensorsFile file(folder / weights_file());
    StoredTensors stored;
    for (const std::string& name : file.names()) {
      stored.emplace(name, file.tensor(name));
    }
    load_into((folder / weights_file()).string(), stored, file_tensors());
  }

 private:
  /// Trains the weights in whose names one of the patterns is found; the others are frozen.
  void choose(const std::vector<std::string>& patterns) {
    std::vector<Regex> expressions;
    for (const std::string& pattern : patterns) {
      expressions.emplace_back(pattern, kPatterns, ErrorKind::kConfig);
      matches_.push_back({pattern, {}});
    }
    for (const nn::Parameter& weight : weights_) {
      bool is_trained = false;
      for (size_t i = 0; i < expressions.size(); ++i) {
        if (expressions[i].found_in(weight.name)) {
          matches_[i].hosts.push_back(weight.name);
          is_trained = true;
        }
      }
      weight.tensor.set_requires_grad(is_trained);
      if (is_trained) {
        parameters_.push_back(weight);
      }
    }
    require_matches();
  }

  void require_matches() const {
    constexpr size_t kShown = 4;
    for (const TargetMatch& match : matches_) {
      if (match.hosts.empty()) {
        std::vector<std::string> names;
        for (const nn::Parameter& weight : weights_) {
          names.push_back(weight.name);
        }
        config_error(kPatterns, "matches no weight: found '" + printable(match.entry) +
                                    "', expected a regular expression that is found in one of the " +
                                    counted(static_cast<int64_t>(names.size()), "name") + " " + join(names, ", ", kShown));
      }
    }
  }

  std::vector<io::NamedTensor> file_tensors() const {
    std::vector<io::NamedTensor> tensors;
    for (const nn::Parameter& parameter : weights_) {
      const auto renamed = result_.names.find(parameter.name);
      tensors.push_back({renamed == result_.names.end() ? parameter.name : renamed->second, parameter.tensor.detach()});
    }
    return tensors;
  }

  FullResult result_;
  std::vector<nn::Parameter> weights_;     ///< all of the model, which the file has
  std::vector<nn::Parameter> parameters_;  ///< those that are trained
  std::vector<TargetMatch> matches_;
  bool is_partial_;
};

}  // namespace

std::string FullResult::weights_file() const {
  return component.empty() ? "model.safetensors" : component + "/diffusion_pytorch_model.safetensors";
}

std::unique_ptr<Method> attach_full(nn::Model& model, FullResult result, const std::optional<std::vector<std::string>>& patterns) {
  return std::make_unique<Full>(model, std::move(result), patterns);
}

}  // namespace lora::peft
