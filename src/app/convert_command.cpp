#include "lora/app/convert_command.h"

#include <ATen/ATen.h>

#include <map>
#include <optional>

#include "app/adapter_templates.h"
#include "app/convert_model.h"
#include "app/convert_report.h"
#include "app/flag_value.h"
#include "app/model_path.h"
#include "app/new_folder.h"
#include "app/open_adapter.h"
#include "app/pipeline_weights.h"
#include "app/rename_modules.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/result_file.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"
#include "lora/io/checkpoint.h"
#include "lora/models/checkpoint_layout.h"
#include "lora/models/mapped_model.h"
#include "lora/models/open_checkpoint.h"
#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::app {

namespace {

/// A model folder or a pipeline. Some conversions need only config.json and no weights.
struct BaseFolder {
  fs::path path;
  peft::BaseFacts facts;
  std::unique_ptr<io::Checkpoint> weights;  ///< null if the folder has none
  models::CheckpointLayout layout;          ///< layout of the weights
  bool is_pipeline = false;                 ///< modules are named by component
};

constexpr EnumTable<at::ScalarType, 6> kDtypes{{{{at::kFloat, "float32"},
                                                 {at::kHalf, "float16"},
                                                 {at::kBFloat16, "bfloat16"},
                                                 {at::kFloat, "f32"},  // the names of llama.cpp's converter
                                                 {at::kHalf, "f16"},
                                                 {at::kBFloat16, "bf16"}}}};

/// Refuses two flags that exclude each other.
void require_not_together(bool first, const char* first_flag, bool second, const char* second_flag) {
  if (first && second) {
    config_error(second_flag, std::string("cannot be used with ") + first_flag);
  }
}

void require_companion_flag(bool given, const char* flag, bool needed, const char* needed_flag) {
  if (given && !needed) {
    config_error(flag, std::string("needs ") + needed_flag);
  }
}

/// Whether the scales become part of lora_B, for readers that do not know them.
bool folds_scales(const ConvertRequest& request) {
  return request.bake && !request.r && request.to == peft::kAdapterFormats.name(peft::AdapterFormat::kDiffusers);
}

void require_consistent_convert_flags(const ConvertRequest& request) {
  require_not_together(request.extract, "--extract", !request.adapter.empty(), "--adapter");
  require_not_together(request.extract, "--extract", request.bake, "--bake");
  require_not_together(request.extract, "--extract", request.resize.has_value(), "--resize");
  require_not_together(request.extract, "--extract", !request.model.empty(), "--model");
  require_not_together(request.bake, "--bake", request.resize.has_value(), "--resize");
  require_not_together(request.extract, "--extract", request.to_lora.has_value(), "--to-lora");
  require_not_together(request.bake, "--bake", request.to_lora.has_value(), "--to-lora");
  require_not_together(request.resize.has_value(), "--resize", request.to_lora.has_value(), "--to-lora");
  const bool needs_rank = request.extract || (request.bake && !folds_scales(request));
  require_companion_flag(needs_rank, request.bake ? "--bake" : "--extract", request.r.has_value(), "--r");
  require_companion_flag(request.r.has_value(), "--r", request.bake || request.extract, "--bake or --extract");
  require_companion_flag(request.extract, "--extract", !request.base.empty(), "--base");
  require_companion_flag(request.extract, "--extract", !request.tuned.empty(), "--tuned");
  require_companion_flag(!request.base.empty(), "--base", request.extract, "--extract");
  require_companion_flag(!request.tuned.empty(), "--tuned", request.extract, "--extract");
  require_companion_flag(request.max_shard_size.has_value(), "--max-shard-size", /*needed=*/false, "--quantize");
  require_companion_flag(!request.target_modules.empty(), "--target-modules", request.extract, "--extract");
  if (!request.extract && request.adapter.empty()) {
    config_error("--adapter", "is missing: expected the adapter to convert, or --extract");
  }
  require_not_together(request.extract, "--extract", !request.renames.empty(), "--rename");
  if (request.to.empty() && !(request.bake || request.extract || request.resize || request.to_lora || !request.renames.empty())) {
    config_error("--to", "is missing: expected one of " + join(peft::kAdapterFormats.names()));
  }
}

peft::AdapterFormat target_format(const ConvertRequest& request) {
  return request.to.empty() ? peft::AdapterFormat::kPeft : flag_value(peft::kAdapterFormats, request.to, "--to");
}

std::optional<peft::AdapterFormat> source_format(const ConvertRequest& request) {
  if (request.from == "auto") {
    return std::nullopt;
  }
  const peft::AdapterFormat format = flag_value(peft::kAdapterFormats, request.from, "--from");
  if (format == peft::AdapterFormat::kGguf || format == peft::AdapterFormat::kVllm) {
    config_error("--from", "found '" + request.from + "', which can only be written, expected auto, peft, mlx, kohya or diffusers");
  }
  return format;
}

BaseFolder open_pipeline_base(const models::ModelOptions& options) {
  const diffusion::Pipeline pipeline({.path = options.path});
  auto weights = std::make_unique<PipelineWeights>(pipeline);
  BaseFolder base{options.path, pipeline_facts(pipeline, *weights, options.name), nullptr, {}, /*is_pipeline=*/true};
  for (const std::string& name : weights->names()) {
    base.layout.file_names.emplace(name, name);
  }
  base.weights = std::move(weights);
  return base;
}

BaseFolder open_base(const std::string& model, const char* flag, const config::Surroundings& surroundings) {
  const models::ModelOptions options = config::read_model_flags({.model = model, .device = "cpu", .flag = flag}, surroundings);
  if (is_pipeline(options.path)) {
    return open_pipeline_base(options);
  }
  require_model(options, flag);
  BaseFolder base{options.path, {options.name, {}, {}}, nullptr, {}};
  const models::ModelConfig config = models::read_model_config(options.path);
  base.facts.config = config.json;
  if (models::has_weights(options.path)) {
    base.weights = models::open_checkpoint(options.path, config);
    base.layout = models::read_layout(*base.weights, config.reader());
    models::warn_of_notes(base.layout, options.path.string());
    constexpr std::string_view kEnd = ".weight";
    for (const auto& [name, file_name] : base.layout.file_names) {
      if (name.ends_with(kEnd)) {
        base.facts.modules.push_back(name.substr(0, name.size() - kEnd.size()));
      }
    }
    if (base.layout.is_tied && base.layout.file_names.count("lm_head.weight") == 0) {
      base.facts.modules.emplace_back("lm_head");
    }
  } else {
    base.layout = models::layout_without_weights(config.reader());
  }
  base.facts.config["tie_word_embeddings"] = base.layout.is_tied;
  return base;
}

/// The file's name of a module's weight; for the head of a tied base, of the embedding's. Null if there is none.
const std::string* find_weight(const BaseFolder& base, const std::string& module) {
  const models::CheckpointLayout& layout = base.layout;
  const bool is_tied_head = module == "lm_head" && layout.is_tied && layout.file_names.count("lm_head.weight") == 0;
  const auto found = layout.file_names.find((is_tied_head ? layout.files.embedding : module) + ".weight");
  return found == layout.file_names.end() ? nullptr : &found->second;
}

bool fits(const peft::FormulaUpdate& update, const std::vector<int64_t>& shape) {
  return shape.size() == 2 && peft::misfit(update, shape[update.is_turned ? 0 : 1], shape[update.is_turned ? 1 : 0]).empty();
}

/// Refuses a method that changes more of the base than a LoRA can.
void require_no_bias_change(const peft::Adapter& adapter, const BaseFolder& base) {
  for (const peft::FormulaUpdate& update : peft::of_kind<peft::FormulaUpdate>(adapter.updates)) {
    if (update.change->changes_bias() && base.layout.file_names.count(update.module + ".bias") > 0) {
      model_error(adapter.weights_file.string(), "cannot become a LoRA, which changes no biases: found " + peft::method_name(update) +
                                                     " on '" + update.module + "', which has a bias. Merge it with lora-merge.");
    }
  }
}

/// Refuses an adapter of another model before anything is computed.
void require_fit(const peft::Adapter& adapter, const BaseFolder& base) {
  if (!base.weights) {
    return;
  }
  std::vector<std::string> missing, misshapen;
  for (const peft::LowRankUpdate& update : adapter.low_rank()) {
    const std::string* const weight = find_weight(base, update.module);
    if (weight == nullptr) {
      missing.push_back(update.module);
    } else if (base.weights->facts(*weight).shape != peft::weight_shape(update)) {
      misshapen.push_back(update.module);
    }
  }
  for (const peft::FormulaUpdate& update : peft::of_kind<peft::FormulaUpdate>(adapter.updates)) {
    const std::string* const weight = find_weight(base, update.module);
    if (weight == nullptr) {
      missing.push_back(update.module);
    } else if (!fits(update, base.weights->facts(*weight).shape)) {
      misshapen.push_back(update.module);
    }
  }
  if (!missing.empty() || !misshapen.empty()) {
    model_error(adapter.weights_file.string(), "does not belong to the base model " + base.path.string() + ": found " +
                                                   counted(static_cast<int64_t>(missing.size()), "module") + " that it does not have (" +
                                                   join(missing, ", ", 2) + ") and " + std::to_string(misshapen.size()) +
                                                   " of another shape (" + join(misshapen, ", ", 2) + ")");
  }
}

at::Tensor base_weight(const BaseFolder& base, const std::string& module) {
  if (!base.weights) {
    model_error("--model", "the weights of the base are needed to approximate DoRA, or a method other than LoRA, by plain LoRA: found '" +
                               module + "', but no weights. Give the base model's folder with --model.");
  }
  return base.weights->tensor(*find_weight(base, module));
}

/// The adapter's name for its base, for use without --model.
std::string named_base(const peft::Adapter& adapter) {
  const Json name = adapter.config.value("base_model_name_or_path", Json(nullptr));
  return name.is_string() ? name.get<std::string>() : "";
}

/// The modules of the base that an extraction considers, from the hosts of its family.
peft::ExtractionTargets extraction_targets(const fs::path& base, const std::vector<std::string>& names) {
  const std::unique_ptr<nn::Model> model = models::map_model(base);
  const bool all_linear = names.empty() || (names.size() == 1 && names.front() == "all-linear");
  peft::ExtractionTargets targets;
  std::vector<std::string> unmatched = names;
  for (const nn::Host* host : model->hosts()) {
    const auto* linear = dynamic_cast<const nn::Linear*>(host);
    const bool is_linear = linear != nullptr, is_embedding = dynamic_cast<const nn::Embedding*>(host) != nullptr;
    bool is_target = all_linear && is_linear && host != model->head();
    for (const std::string& name : names) {
      if (host->name() == name || host->name().ends_with("." + name)) {
        is_target = true;
        std::erase(unmatched, name);
      }
    }
    if (is_target && !is_linear && !is_embedding) {
      config_error("--target-modules", "cannot extract LoRA from '" + host->name() + "': found a module of kind " + host->kind() +
                                           ", expected Linear or Embedding");
    }
    if (is_target) {
      (is_embedding ? targets.embeddings : targets.linears).push_back(host->name());
    }
    if (is_target && is_linear && linear->layout() == nn::WeightLayout::kInOut) {
      targets.turned.push_back(host->name());
    }
  }
  if (!all_linear && !unmatched.empty()) {
    config_error("--target-modules", "matches no module: found '" + unmatched.front() + "', expected names, ends of names, or all-linear");
  }
  return targets;
}

void take(peft::Approximation approximation, ConvertReport& report, peft::Adapter& adapter) {
  approximation.adapter.base_fingerprint = adapter.base_fingerprint;
  approximation.adapter.base_quantization = adapter.base_quantization;
  approximation.adapter.labels = adapter.labels;
  report.relative_error = approximation.relative_error();
  report.modules = std::move(approximation.modules);
  adapter = std::move(approximation.adapter);
}

peft::Adapter extract(const ConvertRequest& request, BaseFolder& base, ConvertReport& report) {
  base = open_base(request.base, "--base", request.surroundings);
  const BaseFolder tuned = open_base(request.tuned, "--tuned", request.surroundings);
  peft::ExtractionTargets targets = base.is_pipeline ? pipeline_targets(*base.weights, request.target_modules)
                                                     : extraction_targets(base.path, request.target_modules);
  targets.model_name = [&layout = base.layout](const std::string& name) { return layout.name_of(name); };
  targets.tuned_name = [&layout = tuned.layout](const std::string& name) { return layout.name_of(name); };
  if (!tuned.weights) {
    io::SafetensorsCheckpoint(tuned.path);  // throws with what is missing
  }
  peft::Extraction extraction = peft::extracted(*base.weights, *tuned.weights, targets, *request.r);
  report.relative_error_of_all = extraction.relative_error_of_all();
  report.not_captured = std::move(extraction.not_captured);
  peft::Adapter adapter;
  adapter.base_fingerprint = base.weights->fingerprint();
  take(std::move(extraction.approximation), report, adapter);
  adapter.weights_file = tuned.path;
  return adapter;
}

peft::Adapter convert(const ConvertRequest& request, BaseFolder& base, ConvertReport& report) {
  if (!request.model.empty()) {
    base = open_base(request.model, "--model", request.surroundings);
  }
  peft::Adapter adapter = open_adapter(request.adapter, source_format(request), base.facts).adapter;
  rename_modules(adapter, request.renames);
  peft::align(adapter, base.facts.modules);
  if (base.layout.is_known) {
    peft::set_inputs_first(adapter, base.layout.files.inputs_first);
  }
  require_fit(adapter, base);
  if (base.weights) {
    peft::require_same_base(adapter.weights_file.string(), adapter.base_fingerprint,
                     {base.facts.name, base.weights->fingerprint(), request.allow_other_base});
  }
  if (base.facts.name.empty()) {
    base.facts.name = named_base(adapter);
  }
  if (request.resize) {
    take(peft::resized(adapter, *request.resize), report, adapter);
  } else if (folds_scales(request)) {
    adapter = peft::with_folded_scales(std::move(adapter));
  } else if (request.bake || request.to_lora) {
    require_no_bias_change(adapter, base);
    const int64_t rank = request.to_lora ? *request.to_lora : *request.r;
    take(peft::baked(adapter, rank, [&base](const std::string& module) { return base_weight(base, module); }), report, adapter);
    report.relative_error_of_all = report.relative_error;
  }
  return adapter;
}

/// Refuses an output that is an input, or that exists without --overwrite. Returns the path to write.
fs::path checked_adapter_folder(const ConvertRequest& request, peft::AdapterFormat format) {
  std::vector<fs::path> inputs;
  for (const fs::path& input : {request.adapter, fs::path(request.model), fs::path(request.base), fs::path(request.tuned)}) {
    if (!input.empty() && fs::exists(input)) {
      inputs.push_back(input);
    }
  }
  if (peft::files_of_format(format, request.output).size() > 1) {
    require_new_folder(request.output, inputs, request.overwrite);
    return request.output;
  }
  if (fs::is_directory(request.output)) {
    output_error(request.output.string(), std::string("is a folder, expected the name of a file, because ") +
                                              std::string(peft::kAdapterFormats.name(format)) + " adapters are one file");
  }
  if (fs::exists(request.output) && !request.overwrite) {
    output_error(request.output.string(), "already exists. Choose another --output, or replace it with --overwrite.");
  }
  return ResultFile(request.output, inputs).whole_file();
}

}  // namespace

int convert_command(const ConvertRequest& request) {
  if (!request.quantize.empty()) {
    convert_model(request);
    return 0;
  }
  require_consistent_convert_flags(request);
  ConvertReport report;
  report.output = request.output;
  report.format = target_format(request);
  const peft::WriteOptions options{flag_value(kDtypes, request.dtype.empty() ? "float32" : request.dtype, "--dtype"), request.kohya_prefix,
                                   request.drop_unsupported};
  const fs::path output = checked_adapter_folder(request, report.format);
  BaseFolder base;
  const peft::Adapter adapter = request.extract ? extract(request, base, report) : convert(request, base, report);
  if (peft::is_of_pipeline(adapter) && request.kohya_prefix != ConvertRequest{}.kohya_prefix) {
    config_error("--kohya-prefix",
                 "is not used for an adapter of a text-to-image pipeline, each component of which has a prefix of its own");
  }
  const auto write = [&](const fs::path& path) {
    report.written = peft::write_foreign_adapter(report.format, path, adapter, base.facts, options);
  };
  if (peft::files_of_format(report.format, report.output).size() > 1) {
    write_new_folder(output, [&](const fs::path& path) {
      write(path);
      write_shared_template({request.extract ? fs::path(request.tuned) : request.adapter}, path);
    });
  } else {
    write(output);
  }
  request.json ? terminal::print_json(report_json(report)) : terminal::print(report_text(report));
  return 0;
}

}  // namespace lora::app
