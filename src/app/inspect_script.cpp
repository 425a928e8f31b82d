#include "app/inspect_script.h"

#include "app/text_table.h"
#include "lora/base/text.h"
#include "lora/torchscript/archive.h"
#include "lora/torchscript/script_file.h"

namespace lora::app {

Json script_facts(const std::filesystem::path& file) {
  const torchscript::Archive archive = torchscript::read_archive(file);
  int64_t code = 0, tensors = 0, size = 0;
  for (const torchscript::ArchiveEntry& entry : archive.entries) {
    size += entry.size;
    code += entry.name.starts_with("code/") && entry.name.ends_with(".py") ? 1 : 0;
    tensors += entry.name.starts_with("data/") ? 1 : 0;
  }
  return {{"kind", "torchscript"},  {"path", file.string()},         {"size", size},
          {"num_code_files", code}, {"num_stored_tensors", tensors}, {"fingerprint", archive.fingerprint}};
}

void add_script_weights(const std::filesystem::path& file, Json& facts) {
  const torchscript::ScriptFile script(file, /*trusted=*/true);
  facts["arguments"] = script.arguments();
  Json weights = Json::array();
  for (const torchscript::HostWeight& weight : script.weights()) {
    weights.push_back({{"name", weight.name},
                       {"slot", weight.slot},
                       {"shape", weight.shape},
                       {"kind", weight.kind},
                       {"inputs_first", weight.inputs_first},
                       {"is_adaptable", weight.is_adaptable},
                       {"note", weight.note}});
  }
  facts["weights"] = std::move(weights);
}

std::string script_text(const Json& facts, bool) {
  std::string text = "TorchScript  " + facts["path"].get<std::string>() + "\nsize         " + human_bytes(facts["size"].get<int64_t>()) +
                     ", " + with_thousands(facts["num_stored_tensors"].get<int64_t>()) + " stored tensors, " +
                     with_thousands(facts["num_code_files"].get<int64_t>()) + " files of code\nfingerprint  " +
                     facts["fingerprint"].get<std::string>() + "\n";
  if (!facts.contains("weights")) {
    return text + "weights      not shown (--trust-torchscript shows them, but runs the file's code)\n";
  }
  text += "arguments    " + join(facts["arguments"].get<std::vector<std::string>>()) + "\n\n";
  TextTable table;
  table.add({"weight", "shape", "adaptable", "kind"});
  for (const Json& weight : facts["weights"]) {
    table.add({weight["name"].get<std::string>(), weight["shape"].dump(), weight["is_adaptable"].get<bool>() ? "yes" : "no",
               weight["kind"].get<std::string>()});
  }
  text += table.text();
  for (const Json& weight : facts["weights"]) {
    if (!weight["note"].get_ref<const std::string&>().empty()) {
      text += "\n" + weight["name"].get<std::string>() + ": " + weight["note"].get<std::string>();
    }
    if (weight["slot"] != weight["name"]) {
      text += "\n" + weight["name"].get<std::string>() + ": its slot is " + weight["slot"].get<std::string>();
    }
  }
  return text + "\n";
}

}  // namespace lora::app
