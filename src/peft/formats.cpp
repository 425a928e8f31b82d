#include "lora/peft/formats.h"

#include <algorithm>
#include <array>
#include <map>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/gguf_file.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/file_names.h"
#include "lora/peft/merge.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/format_entry.h"
#include "peft/tensor_file.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

const char* const kReadable =
    "a PEFT folder (adapter_config.json, adapter_model.safetensors or .bin), an MLX folder (adapter_config.json, "
    "adapters.safetensors), a kohya file (.safetensors with lora_down and lora_up) or diffusers' file of a pipeline";

void write_peft(const fs::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  Adapter written = adapter;
  written.set_low_rank(rounded(adapter.low_rank(), options.dtype));
  write_adapter(folder, written, base.name);
}

/// A folder for each text encoder in that of the network.
void write_peft_pipeline(const fs::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  for (const ComponentAdapter& part : divided(adapter)) {
    const fs::path own = component_folder(folder, part.component);
    fs::create_directories(own);
    write_peft(own, part.adapter, base, options);
  }
}

/// vLLM uses one scale for all modules (lora_alpha / r of adapter_config.json) and ignores the patterns.
void write_vllm(const fs::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  Adapter written = adapter;
  written.set_low_rank(uniform(adapter.low_rank()));
  written.options.use_rslora = false;
  list_targets(written.options);
  write_peft(folder, written, base, options);
}

std::string vllm_refusal(const LowRankUpdate& update, const BaseFacts&) {
  return convolution_refusal(update);
}

/// Every format. A new one is a line here; its functions are in a file of their own.
constexpr std::array<FormatEntry, 8> kFormats{{
    // format, of pipelines, program, file in a folder, whether it holds DoRA, lora_bias and whole tensors, refused modules, is, read, write
    {AdapterFormat::kPeft, false, "PEFT", kAdapterWeightsFile, true, true, true, nullptr, nullptr, nullptr, write_peft},
    {AdapterFormat::kPeft, true, "PEFT", kAdapterWeightsFile, true, true, true, nullptr, nullptr, nullptr, write_peft_pipeline},
    {AdapterFormat::kMlx, false, "MLX", "adapters.safetensors", true, false, false, mlx_refusal, nullptr, read_mlx, write_mlx},
    {AdapterFormat::kKohya, true, "kohya's format", nullptr, true, false, false, kohya_pipeline_refusal, is_kohya_pipeline,
     read_kohya_pipeline, write_kohya_pipeline},
    {AdapterFormat::kKohya, false, "kohya's format", nullptr, false, false, false, kohya_refusal, is_kohya, read_kohya, write_kohya},
    {AdapterFormat::kGguf, false, "GGUF", nullptr, false, false, false, gguf_refusal, nullptr, nullptr, write_gguf_adapter},
    {AdapterFormat::kVllm, false, "vLLM", kAdapterWeightsFile, false, false, false, vllm_refusal, nullptr, nullptr, write_vllm},
    {AdapterFormat::kDiffusers, true, "diffusers' format", nullptr, true, true, false, nullptr, is_diffusers, read_diffusers,
     write_diffusers},
}};

/// The first entry of a format: which file it is does not depend on what it holds.
const FormatEntry& entry_of(AdapterFormat format) {
  return *std::find_if(kFormats.begin(), kFormats.end(), [format](const FormatEntry& entry) { return entry.format == format; });
}

/// The entry that writes this adapter.
const FormatEntry& entry_to_write(AdapterFormat format, const Adapter& adapter) {
  const bool is_pipeline = is_of_pipeline(adapter);
  std::vector<std::string> others;
  for (const FormatEntry& entry : kFormats) {
    if (entry.is_of_pipelines == is_pipeline && entry.format == format) {
      return entry;
    }
    if (entry.is_of_pipelines == is_pipeline) {
      others.emplace_back(kAdapterFormats.name(entry.format));
    }
  }
  model_error(adapter.weights_file.string(),
              "cannot be converted to " + std::string(entry_of(format).program) + ", which is for " +
                  (is_pipeline ? "language models: found an adapter of a text-to-image pipeline"
                               : "text-to-image pipelines: found an adapter of another model") +
                  ", expected one of --to " + join(others));
}

/// The entry that reads a file or folder: of several, the one with the file's names.
const FormatEntry& entry_to_read(AdapterFormat format, const fs::path& path) {
  const auto* const found = std::find_if(kFormats.begin(), kFormats.end(), [&](const FormatEntry& entry) {
    return entry.format == format && entry.is != nullptr && fs::is_regular_file(path) && entry.is(path);
  });
  return found == kFormats.end() ? entry_of(format) : *found;
}

/// One kind of content that a format cannot hold, and where it was found.
struct Loss {
  std::string what;
  std::vector<std::string> names;

  std::string text() const { return what + ": " + join(names, ", ", 2); }
};

/// What was taken out of an adapter for a format.
struct TakenOut {
  std::vector<Loss> losses;
  std::vector<std::string> base_copies;  ///< PEFT's copies of base tensors, whose removal loses nothing
};

void take_out_whole(Adapter& adapter, TakenOut& result) {
  Loss whole{"tensors saved whole (modules_to_save, bias)", {}};
  Loss rows{"rows of trained tokens (trainable_token_indices)", {}};
  Loss of_base{"base tensors that PEFT saved with the adapter (a resized vocabulary)", {}};
  for (const HeldTensor& held : adapter.held()) {
    if (!held.rows.empty()) {
      rows.names.push_back(held.name);
    } else if (is_base_copy(held, adapter)) {
      result.base_copies.push_back(held.name);
    } else {
      (held.of_base ? of_base : whole).names.push_back(held.name);
    }
  }
  result.losses.push_back(std::move(whole));
  result.losses.push_back(std::move(rows));
  result.losses.push_back(std::move(of_base));
  std::erase_if(adapter.updates, [](const AdapterUpdate& update) { return std::holds_alternative<HeldTensor>(update); });
}

/// Takes out of the adapter what the format cannot hold.
TakenOut take_out(Adapter& adapter, const FormatEntry& format, const BaseFacts& base) {
  TakenOut result;
  if (!format.holds_whole_tensors) {
    take_out_whole(adapter, result);  // before the updates, by which copies are recognised
  }
  Loss magnitudes{"DoRA magnitudes (lora-convert --bake --r R --model D turns them into plain LoRA)", {}};
  Loss biases{"biases of lora_B (lora_bias)", {}};
  std::map<std::string, Loss> refused;
  std::vector<LowRankUpdate> kept;
  for (LowRankUpdate update : adapter.low_rank()) {
    const std::string reason = format.refusal != nullptr ? format.refusal(update, base) : "";
    if (!reason.empty()) {
      refused[reason].what = "updates of " + reason;
      refused[reason].names.push_back(update.module);
      continue;
    }
    if (update.magnitude_O && !format.holds_dora) {
      magnitudes.names.push_back(update.module);
      update.magnitude_O.reset();
    }
    if (update.bias_O && !format.holds_lora_bias) {
      biases.names.push_back(update.module);
      update.bias_O.reset();
    }
    kept.push_back(std::move(update));
  }
  adapter.set_low_rank(std::move(kept));
  result.losses.push_back(std::move(magnitudes));
  result.losses.push_back(std::move(biases));
  for (const auto& [reason, loss] : refused) {
    result.losses.push_back(loss);
  }
  std::erase_if(result.losses, [](const Loss& loss) { return loss.names.empty(); });
  return result;
}

/// Removes from the options what was taken out, because PEFT would look for its tensors.
void forget(LoraOptions& options, const FormatEntry& format) {
  options.use_dora = options.use_dora && format.holds_dora;
  options.lora_bias = options.lora_bias && format.holds_lora_bias;
  const auto erase = [&options](const char* key) {
    if (options.config.is_object()) {
      options.config.erase(key);
    }
  };
  if (!format.holds_lora_bias) {
    erase("lora_bias");
  }
  if (!format.holds_whole_tensors) {
    options.bias = TrainedBias::kNone;
    options.modules_to_save.clear();
    options.trainable_token_indices.clear();
    erase("trainable_token_indices");
  }
}

}  // namespace

bool BaseFacts::ties_embeddings() const {
  return is_known() && JsonReader(config, "config.json", ErrorKind::kModel).boolean("tie_word_embeddings", false);
}

AdapterFormat detect_adapter_format(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    for (const FormatEntry& entry : kFormats) {
      if (entry.file != nullptr && fs::exists(path / entry.file, ignored)) {
        return entry.format;
      }
    }
    if (fs::exists(path / kAdapterPickleFile, ignored)) {
      return AdapterFormat::kPeft;
    }
    if (fs::exists(path / kAdapterConfigFile, ignored)) {
      adapter_weights_file(path);  // throws with what is missing
    }
    if (fs::exists(path / kDiffusersWeightsFile, ignored)) {
      model_error(path.string(), std::string("is a folder with ") + kDiffusersWeightsFile + ", expected the path of that file");
    }
  } else if (fs::exists(path, ignored) && path.extension() == ".safetensors") {
    for (const FormatEntry& entry : kFormats) {
      if (entry.is != nullptr && entry.is(path)) {
        return entry.format;
      }
    }
  }
  const bool is_there = fs::exists(path, ignored);
  model_error(path.string(), std::string("is not an adapter: found ") +
                                 (!is_there                ? "nothing"
                                  : fs::is_directory(path) ? "a folder without adapter weights"
                                  : io::is_gguf(path)      ? "a GGUF file, which can only be written"
                                                           : "another kind of file") +
                                 ", expected " + kReadable);
}

bool is_pipeline_file(const fs::path& file) {
  return std::any_of(kFormats.begin(), kFormats.end(), [&file](const FormatEntry& entry) {
    return entry.is_of_pipelines && entry.is != nullptr && entry.is(file);
  });
}

Adapter read_foreign_adapter(AdapterFormat format, const fs::path& path, const BaseFacts& base) {
  const FormatEntry& entry = entry_to_read(format, path);
  if (entry.read == nullptr) {
    model_error(path.string(), std::string("cannot be read as ") + entry.program + ": expected " + kReadable);
  }
  Adapter adapter = entry.read(path, base);
  std::vector<LowRankUpdate> updates = adapter.low_rank();
  for (const LowRankUpdate& update : updates) {
    require_finite({{update.module, update.A_RI}, {update.module, update.B_OR}});
  }
  std::sort(updates.begin(), updates.end(), [](const LowRankUpdate& a, const LowRankUpdate& b) { return a.module < b.module; });
  adapter.set_low_rank(std::move(updates));
  return adapter;
}

std::vector<fs::path> files_of_format(AdapterFormat format, const fs::path& path) {
  const FormatEntry& entry = entry_of(format);
  return entry.file == nullptr ? std::vector<fs::path>{path} : std::vector<fs::path>{path / entry.file, path / kAdapterConfigFile};
}

Written write_foreign_adapter(AdapterFormat format, const fs::path& path, const Adapter& adapter, const BaseFacts& base,
                              const WriteOptions& options) {
  const FormatEntry& entry = entry_to_write(format, adapter);
  const std::string where = adapter.weights_file.string();
  require_settled(adapter);
  require_low_rank(adapter, std::string("converted to ") + entry.program);
  Adapter held = adapter;
  Written result;
  const TakenOut taken = take_out(held, entry, base);
  for (const Loss& loss : taken.losses) {
    result.left_out.push_back(loss.text());
  }
  if (!result.left_out.empty() && !options.drop_unsupported) {
    model_error(where, std::string("cannot be converted to ") + entry.program + ": found " + join(result.left_out, "; ") +
                           ". Use --drop-unsupported to leave them out.");
  }
  const std::string warning = "[" + where + "] left out, because " + entry.program + " does not support it: ";
  for (const std::string& line : result.left_out) {
    log::warn(warning + line);
  }
  for (const std::string& name : taken.base_copies) {
    log::info("left out the adapter's copy of the base tensor " + name);
  }
  result.num_modules = held.low_rank().size();
  if (result.num_modules == 0) {
    model_error(where, std::string("has no update that ") + entry.program + " supports");
  }
  forget(held.options, entry);
  entry.write(path, held, base, options);
  return result;
}

}  // namespace lora::peft
