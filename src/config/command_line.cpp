#include "lora/config/command_line.h"

#include "config/findings.h"
#include "config/sections.h"
#include "config/stored_adapter.h"

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
  models::ModelOptions options = read_model(section, ConfigPlace{"model", findings}, working_folder(surroundings)).options;
  for (const auto& [key, flag] :
       {std::pair("path", flags.flag), std::pair("tokenizer", "--tokenizer"), std::pair("dtype", "--dtype"),
        std::pair("device", "--device"), std::pair("inputs", "--inputs"), std::pair("output", "--output-field")}) {
    findings.rename(std::string("model.") + key, flag);
  }
  findings.throw_if_any();
  return options;
}

peft::MethodOptions read_adapter_folder(const fs::path& folder) {
  Findings findings;
  peft::MethodOptions options = read_stored_adapter(fs::absolute(folder), ConfigPlace{"--adapter", findings});
  findings.throw_if_any(ErrorKind::kModel);
  return options;
}

}  // namespace lora::config
