#include "app/convert_model.h"

#include <array>
#include <cstdio>
#include <utility>

#include "app/companions.h"
#include "app/merge_packing.h"
#include "app/model_path.h"
#include "app/new_folder.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/quantization/bitsandbytes_writer.h"

namespace lora::app {

namespace {

constexpr int64_t kMaxShardSize = 5'000'000'000;

/// The model to quantise. Throws config Error for flags that say what to do with an adapter.
models::ModelOptions model_to_quantise(const ConvertRequest& request) {
  for (const auto& [given, flag] :
       {std::pair(!request.adapter.empty(), "--adapter"), std::pair(!request.to.empty(), "--to"),
        std::pair(request.from != "auto", "--from"), std::pair(request.bake, "--bake"), std::pair(request.resize.has_value(), "--resize"),
        std::pair(request.to_lora.has_value(), "--to-lora"),
        std::pair(request.extract, "--extract"), std::pair(request.r.has_value(), "--r"), std::pair(!request.base.empty(), "--base"),
        std::pair(!request.tuned.empty(), "--tuned"), std::pair(!request.target_modules.empty(), "--target-modules"),
        std::pair(!request.renames.empty(), "--rename"), std::pair(request.kohya_prefix != ConvertRequest{}.kohya_prefix, "--kohya-prefix"),
        std::pair(request.drop_unsupported, "--drop-unsupported"), std::pair(request.allow_other_base, "--allow-other-base")}) {
    if (given) {
      config_error(flag, "cannot be used with --quantize, which converts a model, not an adapter");
    }
  }
  if (request.model.empty()) {
    config_error("--model", "is missing: expected the model to quantise");
  }
  if (request.max_shard_size && *request.max_shard_size < 1) {
    config_error("--max-shard-size", "found " + std::to_string(*request.max_shard_size) + ", expected a size, for example 5GB");
  }
  models::ModelOptions options = config::read_model_flags({.model = request.model,
                                                           .dtype = request.dtype.empty() ? "auto" : request.dtype,
                                                           .device = "cpu",
                                                           .quantize = request.quantize},
                                                          request.surroundings);
  if (options.is_torchscript()) {
    config_error("--quantize", "found '" + request.quantize + "' for a TorchScript model, expected a Hugging Face folder or a .gguf file");
  }
  require_model(options, "--model");
  return options;
}

void describe(const MergeBase& base, const models::QuantizationPlan& plan, const std::string& model) {
  if (plan.projections.empty()) {
    model_error(model, "has no projections that could be quantised");
  }
  if (const std::vector<std::string> formats = base.packed_formats(); !formats.empty()) {
    log::info("[" + model + "] the weights are packed already (" + join(formats) + "): they are dequantised first, and lose more");
  }
  if (!plan.experts.empty()) {
    log::info("[" + model + "] the experts keep plain numbers, because bitsandbytes packs only Linear layers");
  }
}

int64_t size_of_files(const fs::path& folder) {
  int64_t size = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    size += entry.path().extension() == ".safetensors" ? static_cast<int64_t>(entry.file_size()) : 0;
  }
  return size;
}

void print_quantised(const ConvertRequest& request, const PackedResult& result) {
  const int64_t size = size_of_files(request.output);
  if (request.json) {
    terminal::print_json({{"output", request.output.string()},
                          {"quantization", request.quantize},
                          {"num_matrices", result.matrices},
                          {"bits_per_parameter", result.bits_per_value()},
                          {"plain_modules", result.plain_modules},
                          {"size", size}});
    return;
  }
  std::array<char, 32> bits{};
  std::snprintf(bits.data(), bits.size(), "%.3f", result.bits_per_value());
  terminal::print(request.output.string() + ": " + request.quantize + ", " + counted(result.matrices, "matrix", "matrices") + " with " +
                  bits.data() + " bits for each parameter, " + human_bytes(size) + "\n");
}

}  // namespace

void convert_model(const ConvertRequest& request) {
  const models::ModelOptions options = model_to_quantise(request);
  require_new_folder(request.output, {options.path}, request.overwrite);
  const MergeBase base(options);
  const models::QuantizationPlan packed = models::quantization_plan(options);
  describe(base, packed, options.name);
  peft::MergePlan plan = peft::plan_merge(base.layout(), {}, /*subtract=*/false);
  base.settle_names(plan);
  const PackedResult result = pack_result(base, plan, packing_as_loaded(base, packed));
  const Json section = quantization::bitsandbytes_config(packed.loading.quantization, packed.loading.dtype, result.plain_modules);
  write_new_folder(request.output, [&](const fs::path& folder) {
    write_file_atomically(folder / "config.json", base.config_text(/*unties=*/false, std::nullopt, section));
    copy_companions(options.path, folder);
    io::write_checkpoint(folder, result.streams, request.max_shard_size.value_or(kMaxShardSize));
    log::end_progress();
  });
  print_quantised(request, result);
}

}  // namespace lora::app
