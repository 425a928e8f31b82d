#include "app/inspect_attachments.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>

#include "app/inspect_tensors.h"
#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/io/dtype_name.h"
#include "lora/io/torch_archive.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "lora/peft/method.h"

namespace lora::app {

namespace {

/// The folder's peft_type; "" if it is no folder of PEFT or of the adapters library.
std::string peft_type_in(const fs::path& path) {
  const auto is_there = [&path](const char* file) { return is_file(path / file); };
  constexpr std::array<const char*, 4> kWeights{peft::kAdapterWeightsFile, peft::kAdapterPickleFile, peft::kBottleneckWeightsFile,
                                                peft::kBottleneckPickleFile};
  if (!is_there(peft::kAdapterConfigFile) || std::none_of(kWeights.begin(), kWeights.end(), is_there)) {
    return "";
  }
  const Json config = read_json(path / peft::kAdapterConfigFile, ErrorKind::kModel);
  if (!config.is_object()) {
    return "";
  }
  const Json type = config.value("peft_type", Json(config.contains("config") ? peft::kBottleneck : ""));
  return type.is_string() ? type.get<std::string>() : "";
}

std::vector<TensorFacts> tensors_in(const fs::path& file) {
  if (file.extension() == ".safetensors") {
    return read_tensor_facts(file);
  }
  std::vector<TensorFacts> tensors;
  for (const io::NamedTensor& named : io::load_torch_archive(file)) {
    tensors.push_back({named.name, io::dtype_name(named.tensor.scalar_type()), named.tensor.sizes().vec(),
                       static_cast<int64_t>(named.tensor.nbytes())});
  }
  return tensors;
}

}  // namespace

Json attachment_facts(const fs::path& path) {
  const std::string type = peft_type_in(path);
  if (type.empty() || peft::changes_weights(type)) {
    return nullptr;
  }
  config::read_adapter_folder(path);  // throws for unknown keys
  const Json config = read_json(path / peft::kAdapterConfigFile, ErrorKind::kModel);
  const fs::path file = peft::adapter_weights_file(path);
  const std::vector<TensorFacts> tensors = tensors_in(file);
  return {{"kind", "adapter"},
          {"path", path.string()},
          {"format", "peft"},
          {"method", type},
          {"base_model_name_or_path", config.value("base_model_name_or_path", config.value("model_name", Json(nullptr)))},
          {"config", config},
          {"num_parameters", num_elements(tensors)},
          {"size", fs::file_size(file)},
          {"tensors", grouped_tensors(tensors)}};
}

std::string attachment_text(const Json& facts) {
  const Json& base = facts["base_model_name_or_path"];
  return "adapter      " + facts["path"].get<std::string>() + "\nmethod       " + facts["method"].get<std::string>() +
         "\nbase         " + (base.is_string() ? base.get<std::string>() : "(not named)") + "\nsize         " +
         with_thousands(facts["num_parameters"].get<int64_t>()) + " parameters, " + human_bytes(facts["size"].get<int64_t>()) +
         "\n\n" + grouped_text(facts["tensors"]);
}

}  // namespace lora::app
