#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "adapter_config.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/random.h"
#include "lora/peft/method.h"
#include "targets.h"
#include "tensor_file.h"

namespace lora::peft {

namespace {

const char* const kAdapterName = "default";
const char* const kWeightsFile = "adapter_model.safetensors";

/// A new tensor's random numbers are a pure function of (seed, its name).
at::Generator generator_of(uint64_t seed, const std::string& name) {
  return at::detail::createCPUGenerator(mix64(seed, hash_name(name)));
}

/// Kaiming-uniform with a = sqrt(5) (He et al. 2015): U(-1/sqrt(columns), 1/sqrt(columns)), nn.Linear's own start.
void kaiming_uniform(at::Tensor& tensor, at::Generator generator) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.size(1)));
  tensor.uniform_(-bound, bound, std::move(generator));
}

class Lora : public Method {
 public:
  Lora(const LoraOptions& options, nn::Model& model, std::string base_name, uint64_t seed)
      : options_(options), base_name_(std::move(base_name)), chosen_(choose_hosts(options, model)) {
    for (const nn::Parameter& base : model.base_parameters()) {
      base.tensor.set_requires_grad(false);
    }
    for (nn::Linear* host : chosen_.hosts) {
      attach(*host, seed);
    }
    if (options_.init_from) {
      load(*options_.init_from);
    }
  }

  std::string name() const override { return "LoRA"; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return chosen_.matches; }
  std::string weights_file() const override { return kWeightsFile; }

  void save(const std::filesystem::path& folder) const override {
    const std::vector<io::NamedTensor> tensors = file_tensors();
    require_finite(tensors);
    io::save_tensors(folder / kWeightsFile, tensors);
    write_file_atomically(folder / "adapter_config.json", adapter_config_text(options_, chosen_.targets, base_name_));
  }

  void load(const std::filesystem::path& folder) override {
    const std::filesystem::path file = folder / kWeightsFile;
    if (!std::filesystem::exists(file)) {
      model_error(folder.string(), std::string("is no adapter folder: expected ") + kWeightsFile + " in it" +
                                       (std::filesystem::exists(folder / "adapter_model.bin")
                                            ? ". It holds adapter_model.bin: load and save it once with PEFT to get safetensors"
                                            : ""));
    }
    load_into(file, file_tensors());
  }

 private:
  void attach(nn::Linear& host, uint64_t seed) {
    const int64_t r = pattern_value(options_.rank_pattern, host.name(), options_.r, "adapter.rank_pattern");
    const double alpha = pattern_value(options_.alpha_pattern, host.name(), options_.lora_alpha, "adapter.alpha_pattern");
    const std::string a_name = host.name() + ".lora_A.weight";
    const std::string b_name = host.name() + ".lora_B.weight";
    at::Tensor A_RI = at::empty({r, host.in_features()}, at::kFloat);
    at::Tensor B_OR = at::zeros({host.out_features(), r}, at::kFloat);
    if (options_.init == LoraInit::kGaussian) {
      A_RI.normal_(0.0, 1.0 / static_cast<double>(r), generator_of(seed, a_name));
    } else {
      kaiming_uniform(A_RI, generator_of(seed, a_name));
    }
    if (options_.init == LoraInit::kRandom) {
      kaiming_uniform(B_OR, generator_of(seed, b_name));
    }
    // The adapter is float32 whatever the base is (PEFT's autocast_adapter_dtype).
    A_RI = A_RI.to(host.weight().device()).requires_grad_(true);
    B_OR = B_OR.to(host.weight().device()).requires_grad_(true);
    const double divisor = options_.use_rslora ? std::sqrt(static_cast<double>(r)) : static_cast<double>(r);
    host.attach({kAdapterName, A_RI, B_OR, alpha / divisor, options_.lora_dropout});
    parameters_.push_back({a_name, A_RI});
    parameters_.push_back({b_name, B_OR});
  }

  /// The trained tensors under PEFT's keys.
  std::vector<io::NamedTensor> file_tensors() const {
    std::vector<io::NamedTensor> tensors;
    for (const nn::Parameter& parameter : parameters_) {
      tensors.push_back({"base_model.model." + parameter.name, parameter.tensor.detach()});
    }
    return tensors;
  }

  LoraOptions options_;
  std::string base_name_;
  ChosenHosts chosen_;
  std::vector<nn::Parameter> parameters_;
};

}  // namespace

std::unique_ptr<Method> attach_lora(const LoraOptions& options, nn::Model& model, const std::string& base_name, uint64_t seed) {
  return std::make_unique<Lora>(options, model, base_name, seed);
}

}  // namespace lora::peft
