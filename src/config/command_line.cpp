#include "lora/config/command_line.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "config/findings.h"
#include "config/sections.h"
#include "config/stored_adapter.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::config {

namespace fs = std::filesystem;

namespace {

Context working_folder(const Surroundings& surroundings) {
  return {fs::current_path(), {}, surroundings};
}

/// The values of --quantize.
constexpr std::array<std::string_view, 5> kQuantizeWords{"nf4", "nf4-dq", "fp4", "fp4-dq", "int8"};
constexpr std::string_view kDoubleQuant = "-dq";

/// The section model.quantization of a word for --quantize.
Json quantization_of(const std::string& word) {
  if (std::find(kQuantizeWords.begin(), kQuantizeWords.end(), word) == kQuantizeWords.end()) {
    const std::vector<std::string> known(kQuantizeWords.begin(), kQuantizeWords.end());
    config_error("--quantize", "found '" + word + "', expected one of " + join(known) + did_you_mean(word, known));
  }
  const bool is_double = word.ends_with(kDoubleQuant);
  return {{"type", is_double ? word.substr(0, word.size() - kDoubleQuant.size()) : word}, {"double_quant", is_double}};
}

}  // namespace

models::ModelOptions read_model_flags(const ModelFlags& flags, const Surroundings& surroundings) {
  Findings findings;
  Json section{{"path", flags.model}, {"dtype", flags.dtype}, {"device", flags.device}, {"trust_torchscript", flags.trust_torchscript}};
  if (!flags.quantize.empty()) {
    section["quantization"] = quantization_of(flags.quantize);
  }
  if (!flags.inputs.empty()) {
    section["inputs"] = flags.inputs;
  }
  for (const auto& [key, value] : {std::pair("tokenizer", &flags.tokenizer), std::pair("output", &flags.output),
                                   std::pair("variant", &flags.variant), std::pair("vae", &flags.vae),
                                   std::pair("prediction_type", &flags.prediction_type)}) {
    if (!value->empty()) {
      section[key] = *value;
    }
  }
  if (flags.clip_skip) {
    section["clip_skip"] = *flags.clip_skip;
  }
  models::ModelOptions options = read_model(section, ConfigPlace{"model", findings}, working_folder(surroundings)).options;
  for (const auto& [key, flag] :
       {std::pair("path", flags.flag), std::pair("tokenizer", "--tokenizer"), std::pair("dtype", "--dtype"),
        std::pair("device", "--device"), std::pair("inputs", "--inputs"), std::pair("output", "--output-field"),
        std::pair("variant", "--variant"), std::pair("vae", "--vae"), std::pair("prediction_type", "--prediction-type"),
        std::pair("clip_skip", "--clip-skip")}) {
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
