// Writes a model with merged adapters while reading the base: one piece of one tensor at a time.
#include "app/merge_model.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "app/adapter_templates.h"
#include "app/classifier.h"
#include "app/companions.h"
#include "app/merge_check.h"
#include "app/merge_quantization.h"
#include "app/new_folder.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/task.h"

namespace lora::app {

namespace {

/// Compares the base with the one that the adapter names. Folders move, so only a different last component counts as another base.
void warn_of_other_base(const peft::WeightedAdapter& adapter, const models::ModelOptions& model) {
  const Json& trained_on = adapter.adapter.config.value("base_model_name_or_path", Json());
  const auto last = [](const fs::path& path) { return path.has_filename() ? path.filename() : path.parent_path().filename(); };
  if (!trained_on.is_string() || trained_on == "" || trained_on == model.name) {
    return;
  }
  const std::string& name = trained_on.get_ref<const std::string&>();
  if (last(name) != last(model.name)) {
    log::warn("[" + adapter.name + "] was trained on another base by its base_model_name_or_path: found '" + printable(name, 120) +
              "', merging with '" + model.name + "'");
  }
}

/// The labels of the first adapter with a classifier: no two adapters may have different ones.
data::LabelSet merged_labels(const std::vector<peft::WeightedAdapter>& adapters, const fs::path& model_folder) {
  for (const peft::WeightedAdapter& adapter : adapters) {
    if (peft::is_sequence_classification(adapter.adapter.options)) {
      return adapter_labels(adapter.adapter.weights_file.parent_path(), model_folder);
    }
  }
  return {};
}

/// The base's other files and the chat template of the adapters. Unmerging keeps the template, because the previous one is not known.
void write_companions(const MergeRequest& request, const fs::path& base, const fs::path& folder) {
  copy_companions(base, folder);
  if (!request.unmerge && write_shared_template({request.adapters.begin(), request.adapters.end()}, folder)) {
    end_generation_at_turns(folder);
  }
}

void warn_of_untying(const peft::MergePlan& plan) {
  if (plan.unties) {
    log::warn(
        "[tie_word_embeddings] the base ties its head to the embedding, but the adapters change only one of them: the result gets its "
        "own head (lm_head.weight, with tie_word_embeddings false in config.json)");
  }
}

/// All tensors as plain numbers.
PackedResult plain_result(const MergeBase& base, const peft::MergePlan& plan) {
  PackedResult result;
  for (const peft::MergedTensor& tensor : plan.tensors) {
    result.streams.push_back(base.stream(tensor));
  }
  return result;
}

std::optional<models::Quantization> options_of(const std::optional<config::StoredQuantization>& stored) {
  return stored ? std::optional(stored->quantization) : std::nullopt;
}

/// The base to compare the result with. That of a packed base has decoded weights: a forward pass through packed ones does not round them
/// to the dtype that merging takes them in.
std::optional<models::Quantization> compared_base(const MergeBase& base, const MergeQuantization& quantization) {
  const bool is_decoded = !quantization.seen && !base.packed_formats().empty();
  return is_decoded ? std::optional(models::Quantization{.type = models::QuantizationKind::kNone}) : options_of(quantization.seen);
}

void report(const MergeRequest& request, const peft::MergePlan& plan, const PackedResult& result) {
  const auto changed = std::count_if(plan.tensors.begin(), plan.tensors.end(), [](const auto& tensor) { return tensor.is_changed(); });
  if (request.requantize) {
    terminal::print(result.error.text() + "\n");
  }
  log::info("wrote " + request.output.string() + ": " + counted(static_cast<int64_t>(plan.tensors.size()), "tensor") + ", " +
            with_thousands(changed) + " of them " + (request.unmerge ? "unmerged" : "merged"));
}

}  // namespace

void merge_model(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  require_new_folder(request.output, inputs, request.overwrite);
  MergeBase base(model);
  // A merged model does not have the fingerprint of its adapters' base.
  const peft::BaseReference reference(model.name, request.unmerge ? "" : base.source().fingerprint(), request.allow_other_base);
  for (const peft::WeightedAdapter& adapter : adapters) {
    require_seen_base(adapter, reference);
    warn_of_other_base(adapter, model);
  }
  const MergeQuantization quantization = settle_quantization(request, model, base, adapters);
  peft::MergePlan plan = peft::plan_merge(base.layout(), base.settled(adapters), request.unmerge);
  std::optional<data::LabelSet> labels;
  if (plan.scores_documents) {
    labels = merged_labels(adapters, model.path);
  }
  base.settle_names(plan);
  warn_of_untying(plan);
  const PackedResult result = request.requantize ? pack_result(base, plan, quantization.packing) : plain_result(base, plan);
  write_new_folder(request.output, [&](const fs::path& folder) {
    const Json packed = result_quantization(base, quantization, result);
    write_file_atomically(folder / "config.json", base.config_text(plan.unties, labels, packed));
    write_companions(request, model.path, folder);
    io::write_checkpoint(folder, result.streams, request.max_shard_size);
    log::end_progress();
    if (request.verify) {
      require_equal_merge(request, folder, {compared_base(base, quantization), options_of(quantization.trained_on)});
    }
  });
  report(request, plan, result);
}

}  // namespace lora::app
