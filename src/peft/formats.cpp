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
#include "peft/format_entry.h"
#include "peft/tensor_file.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

const char* const kReadable =
    "a PEFT folder (adapter_config.json, adapter_model.safetensors or .bin), an MLX folder (adapter_config.json, "
    "adapters.safetensors) or a kohya file (.safetensors with lora_down and lora_up)";

void write_peft(const fs::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  Adapter written = adapter;
  written.set_low_rank(rounded(adapter.low_rank(), options.dtype));
  write_adapter(folder, written, base.name);
}

/// vLLM uses one scale for all modules (lora_alpha / r of adapter_config.json) and ignores the patterns.
void write_vllm(const fs::path& folder, const Adapter& adapter, const BaseFacts& base, const WriteOptions& options) {
  Adapter written = adapter;
  written.set_low_rank(uniform(adapter.low_rank()));
  written.options.use_rslora = false;
  list_targets(written.options);
  write_peft(folder, written, base, options);
}

/// Every format. A new one is a line here; its functions are in a file of their own.
constexpr std::array<FormatEntry, kAdapterFormats.entries.size()> kFormats{{
    // format, program, file in a folder, whether it holds DoRA, lora_bias and whole tensors, refused modules, read, write
    {AdapterFormat::kPeft, "PEFT", kAdapterWeightsFile, true, true, true, nullptr, nullptr, write_peft},
    {AdapterFormat::kMlx, "MLX", "adapters.safetensors", true, false, false, mlx_refusal, read_mlx, write_mlx},
    {AdapterFormat::kKohya, "kohya's format", nullptr, false, false, false, kohya_refusal, read_kohya, write_kohya},
    {AdapterFormat::kGguf, "GGUF", nullptr, false, false, false, gguf_refusal, nullptr, write_gguf_adapter},
    {AdapterFormat::kVllm, "vLLM", kAdapterWeightsFile, false, false, false, nullptr, nullptr, write_vllm},
}};

const FormatEntry& entry_of(AdapterFormat format) {
  return *std::find_if(kFormats.begin(), kFormats.end(), [format](const FormatEntry& entry) { return entry.format == format; });
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
  } else if (fs::exists(path, ignored) && path.extension() == ".safetensors" && is_kohya(path)) {
    return AdapterFormat::kKohya;
  }
  const bool is_there = fs::exists(path, ignored);
  model_error(path.string(), std::string("is not an adapter: found ") +
                                 (!is_there                ? "nothing"
                                  : fs::is_directory(path) ? "a folder without adapter weights"
                                  : io::is_gguf(path)      ? "a GGUF file, which can only be written"
                                                           : "another kind of file") +
                                 ", expected " + kReadable);
}

Adapter read_foreign_adapter(AdapterFormat format, const fs::path& path, const BaseFacts& base) {
  const FormatEntry& entry = entry_of(format);
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
  const FormatEntry& entry = entry_of(format);
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
