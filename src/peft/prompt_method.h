#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/file_names.h"
#include "lora/peft/method.h"
#include "peft/extra_modules.h"
#include "peft/prompt_encoder.h"

namespace lora::peft {

/// What tells the methods that learn virtual tokens apart.
struct PromptKind {
  const char* peft_type;
  std::string name;         ///< for users
  nlohmann::json own_keys;  ///< of adapter_config.json, besides PromptLearningConfig's
  TargetMatch match;        ///< where it is attached
};

/// The sizes in adapter_config.json, as PEFT fills them in.
struct PromptSizes {
  int64_t token_dim;
  int64_t num_layers;
  int64_t num_attention_heads;
};

/// Throws config Error for a size in the options that is not the model's.
void require_sizes(const PromptOptions& options, const PromptSizes& sizes);

/// A method that learns virtual tokens: its encoder, which is attached already, and what else the options train (a classifier's head).
class PromptMethod : public Method {
 public:
  PromptMethod(const PromptOptions& options, PromptKind kind, const PromptSizes& sizes, std::shared_ptr<PromptEncoder> encoder,
               nn::Model& model, BaseReference base, const std::string& adapter_name);

  /// Takes the values of the adapter that the options' init_from names; none: does nothing.
  void continue_from_start();

  std::string name() const override { return kind_.name; }
  const std::vector<nn::Parameter>& parameters() const override { return parameters_; }
  const std::vector<TargetMatch>& matches() const override { return matches_; }
  std::string weights_file() const override;
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  /// The tensors of PEFT's file except the virtual tokens.
  std::vector<io::NamedTensor> held_tensors() const;
  std::string config_text() const;
  void load_network(const std::filesystem::path& folder);

  PromptOptions options_;
  PromptKind kind_;
  PromptSizes sizes_;
  std::shared_ptr<PromptEncoder> encoder_;
  BaseReference base_;
  ExtraModules extra_;
  std::vector<nn::Parameter> parameters_;
  std::vector<TargetMatch> matches_;
};

}  // namespace lora::peft
