#include "lora/app/inspect_command.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>

#include "app/inspect_adapter.h"
#include "app/inspect_model.h"
#include "app/inspect_pipeline.h"
#include "app/inspect_run.h"
#include "app/inspect_script.h"
#include "app/inspect_tensors.h"
#include "app/open_adapter.h"
#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/sibling.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/checkpoint/checkpoint.h"
#include "lora/models/gguf_model.h"
#include "lora/peft/file_names.h"
#include "lora/torchscript/is_script.h"

namespace lora::app {

namespace {

bool has(const fs::path& folder, const char* file) {
  std::error_code ignored;
  return is_bundle(folder) ? is_file(folder / file) : fs::is_directory(folder, ignored) && fs::exists(folder / file, ignored);
}

bool is_run(const fs::path& path) {
  return has(path, "run.json") || has(path, "metrics.jsonl") || !checkpoint::steps(path).empty();
}

bool is_several_runs(const fs::path& path) {
  return !run_folders(path).empty();
}

bool is_checkpoint(const fs::path& path) {
  return has(path, "trainer_state.json") || has(path, "MANIFEST.json");
}

bool is_adapter(const fs::path& path) {
  return has(path, peft::kAdapterConfigFile) || has(path, peft::kAdapterWeightsFile) || has(path, peft::kAdapterPickleFile) ||
         has(path, "adapters.safetensors") || is_adapter_of_text_encoders(path) || is_pipeline_adapter_file(path);
}

bool is_pipeline_folder(const fs::path& path) {
  return has(path, "model_index.json");
}

bool is_model(const fs::path& path) {
  return has(path, "config.json");
}

bool is_tensor_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && path.extension() == ".safetensors";
}

/// A kind of path that can be inspected, recognised by its files. Runs come first, because a run's folder also holds its result.
struct Kind {
  const char* description;
  bool (*is)(const fs::path& path);
  Json (*facts)(const fs::path& path);
  std::string (*text)(const Json& facts, bool colour);
};
constexpr std::array<Kind, 8> kKinds{
    {{"a run (run.json, metrics.jsonl, checkpoint-<step>)", is_run, run_facts, run_text},
     {"a checkpoint (trainer_state.json, MANIFEST.json)", is_checkpoint, checkpoint_facts, checkpoint_text},
     {"an adapter (adapter_config.json with adapter_model.safetensors or MLX's adapters.safetensors; a LoRA file of a text-to-image "
      "pipeline)",
      is_adapter, adapter_facts, adapter_text},
     {"a text-to-image pipeline (model_index.json)", is_pipeline_folder, pipeline_folder_facts, pipeline_folder_text},
     {"a model (config.json, model.safetensors or its index; a GGUF file)", is_model, model_facts, model_text},
     {"the output of a run with several adapters (folders with run.json)", is_several_runs, several_runs_facts, several_runs_text},
     {"a .safetensors file", is_tensor_file, tensor_file_facts, tensor_file_text},
     {"a TorchScript file", torchscript::is_script, script_facts, script_text}}};

/// Describes what is at a path of no known kind.
std::string found_text(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return "nothing" + did_you_mean_sibling(path);
  }
  if (!fs::is_directory(path, error)) {
    return "a file";
  }
  std::vector<std::string> names;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names.empty() ? "an empty folder" : "a folder with " + join(names, ", ", 6);
}

const Kind& kind_of(const fs::path& path) {
  std::vector<std::string> known;
  for (const Kind& kind : kKinds) {
    if (kind.is(path)) {
      return kind;
    }
    known.emplace_back(kind.description);
  }
  model_error(path.string(), "cannot be inspected: found " + found_text(path) + ", expected one of: " + join(known, "; "));
}

}  // namespace

int inspect_command(const InspectRequest& request) {
  at::set_num_threads(1);  // the decompositions are small: more threads only wait for each other
  const auto print = [&](const Json& facts, const auto& text) {
    // Names and values come from untrusted files: control characters in them must not reach the terminal.
    request.json ? terminal::print_json(facts) : terminal::print(text(terminal::visible_json(facts), terminal::shows_colours()));
  };
  if (!request.other.empty()) {
    print(difference_facts(request.path, request.other), difference_text);
    return 0;
  }
  models::add_gguf_model(request.path);
  const Kind& kind = kind_of(request.path);
  Json facts = kind.facts(request.path);
  if (request.trust_torchscript) {
    if (kind.is != torchscript::is_script) {
      config_error("--trust-torchscript", std::string("is only for TorchScript files: found ") + kind.description);
    }
    add_script_weights(request.path, facts);
  }
  print(facts, kind.text);
  return 0;
}

}  // namespace lora::app
