#include "lora/config/command_line.h"

#include "config/findings.h"
#include "config/sections.h"

namespace lora::config {

namespace fs = std::filesystem;

namespace {

Context working_folder(const Surroundings& surroundings) {
  return {fs::current_path(), {}, surroundings};
}

}  // namespace

models::ModelOptions read_model_flags(const ModelFlags& flags, const Surroundings& surroundings) {
  Findings findings;
  Json section{{"path", flags.model}, {"dtype", flags.dtype}, {"device", flags.device}, {"trust_torchscript", flags.trust_torchscript}};
  if (!flags.tokenizer.empty()) {
    section["tokenizer"] = flags.tokenizer;
  }
  if (!flags.inputs.empty()) {
    section["inputs"] = flags.inputs;
  }
  if (!flags.output.empty()) {
    section["output"] = flags.output;
  }
  models::ModelOptions options = read_model(section, Place{"model", findings}, working_folder(surroundings)).options;
  for (const auto& [key, flag] :
       {std::pair("path", "--model"), std::pair("tokenizer", "--tokenizer"), std::pair("dtype", "--dtype"), std::pair("device", "--device"),
        std::pair("inputs", "--inputs"), std::pair("output", "--output-field")}) {
    findings.rename(std::string("model.") + key, flag);
  }
  findings.throw_if_any();
  return options;
}

peft::LoraOptions read_adapter_folder(const fs::path& folder) {
  Findings findings;
  const Surroundings nowhere;
  const Json section{{"init_from", fs::absolute(folder).string()}};
  std::optional<peft::LoraOptions> options = read_adapter(section, Place{"adapter", findings}, working_folder(nowhere)).options;
  findings.throw_if_any(ErrorKind::kModel);
  if (peft::changes_base(options->init)) {
    model_error(folder.string(),
                "its adapter fits a base that its start was taken out of, not the base itself: found init_lora_weights \"" +
                    std::string(peft::kNamedInits.name(options->init)) +
                    "\", expected an adapter that PEFT has converted (save_pretrained with path_initial_model_for_weight_conversion)");
  }
  return std::move(*options);
}

}  // namespace lora::config
