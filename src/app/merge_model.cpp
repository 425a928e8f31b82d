// Writes a model with merged adapters while reading the base: one piece of one tensor at a time.
#include "app/merge_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "app/adapter_templates.h"
#include "app/classifier.h"
#include "app/companions.h"
#include "app/merge_check.h"
#include "app/new_folder.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/json.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/checkpoint.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/io/dtype_name.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/base_model.h"
#include "lora/models/checkpoint_layout.h"
#include "lora/models/open_checkpoint.h"
#include "lora/peft/base_reference.h"
#include "lora/peft/task.h"

namespace lora::app {

namespace {

using at::Tensor;

constexpr int64_t kPieceElements = int64_t{1} << 22;  // 16 MiB in float32

/// A base folder: config.json and weights.
class Base {
 public:
  explicit Base(const models::ModelOptions& options) : options_(options) {
    models::ModelConfig config = models::read_model_config(options.path);
    source_ = models::open_checkpoint(options.path, config);
    checkpoint_ = models::read_layout(*source_, config.reader());
    models::require_readable(checkpoint_, config.reader());
    models::warn_of_notes(checkpoint_, options.path.string());
    config_ = models::settled_config(std::move(config.json), checkpoint_);
    layout_.embedding = checkpoint_.files.embedding;
    layout_.tied = checkpoint_.is_tied;
    for (const std::string& name : source_->names()) {
      const io::TensorFacts facts = source_->facts(name);
      layout_.tensors.push_back({name, facts.shape, io::is_plain_float(facts.dtype), checkpoint_.name_of(name)});
    }
  }

  const peft::BaseLayout& layout() const { return layout_; }
  /// The adapters with the base's names, as updates of the unchanged base, in the layout of the family's weights. If the family is not
  /// known, the adapters' own flag decides.
  std::vector<peft::WeightedAdapter> settled(std::vector<peft::WeightedAdapter> adapters) const {
    std::vector<std::string> modules;
    for (const peft::BaseTensor& tensor : layout_.tensors) {
      modules.push_back(tensor.model_name.substr(0, tensor.model_name.rfind('.')));
    }
    modules.emplace_back("lm_head");
    for (peft::WeightedAdapter& adapter : adapters) {
      peft::align(adapter.adapter, modules);
      if (checkpoint_.is_known) {
        peft::set_inputs_first(adapter.adapter, checkpoint_.files.inputs_first);
      }
      const bool inputs_first = checkpoint_.is_known ? checkpoint_.files.inputs_first : adapter.adapter.options.fan_in_fan_out;
      peft::settle_start(adapter.adapter, [&](const std::string& module) {
        const Tensor weight = weight_of(module, adapter.name);
        return inputs_first && module != "lm_head" ? weight.t() : weight;
      });
    }
    return adapters;
  }
  std::string fingerprint() const { return source_->fingerprint(); }

  /// A tensor of the result, ready to be written.
  io::TensorStream stream(const peft::MergedTensor& tensor) const {
    const at::ScalarType own = tensor.source.empty() ? source_->stored_dtype() : source_->facts(tensor.source).dtype;
    const at::ScalarType dtype = tensor.is_float ? models::scalar_type(options_.dtype).value_or(own) : own;
    return {tensor.name, dtype, tensor.shape, [this, &tensor, dtype](const auto& append) { produce(tensor, dtype, append); }};
  }

  /// Sets the names to write: those of the base without the prefixes of wrappers, and for a classifier those that transformers
  /// expects.
  void settle_names(peft::MergePlan& plan) const {
    const std::map<std::string, std::string> written = checkpoint_.written_names();
    const std::map<std::string, std::string> kept = plan.scores_documents ? classifier_file_names(written) : written;
    std::set<std::string> taken;
    for (peft::MergedTensor& tensor : plan.tensors) {
      const std::string& of_model = checkpoint_.name_of(tensor.name);
      const auto own = kept.find(of_model);
      const std::string& name = own == kept.end() ? of_model : own->second;
      // A head that was the embedding in the file gets its own tensor if the two differ now.
      tensor.name = taken.insert(name).second ? name : tensor.name;
    }
  }

  /// The config.json of the result.
  std::string config_text(bool unties, const std::optional<data::LabelSet>& labels) const {
    Json config = labels ? classifier_config(config_, *labels) : config_;
    if (options_.dtype != models::ComputeDtype::kAuto) {
      config[config.contains("torch_dtype") ? "torch_dtype" : "dtype"] = std::string(models::kComputeDtypes.name(options_.dtype));
    }
    if (unties) {
      config["tie_word_embeddings"] = false;
    }
    return config.dump(2) + "\n";
  }

 private:
  Tensor weight_of(const std::string& module, const std::string& adapter) const {
    for (const peft::BaseTensor& tensor : layout_.tensors) {
      if (tensor.model_name == module + ".weight" && tensor.shape.size() == 2) {
        return source_->tensor(tensor.name);
      }
    }
    model_error(adapter, "does not match the base: found an update of " + module + ", which has no weight in the base");
  }

  void produce(const peft::MergedTensor& tensor, at::ScalarType dtype, const std::function<void(const Tensor&)>& append) const {
    const Tensor base = tensor.source.empty() ? tensor.replacement : source_->tensor(tensor.source);
    const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape.front();
    const int64_t row_elements = rows > 0 ? base.numel() / rows : 0;
    const int64_t step = tensor.needs_all_rows() ? rows : std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, row_elements));
    for (int64_t begin = 0; begin < rows; begin += step) {
      throw_if_interrupted();
      const Tensor piece = peft::merged_rows(tensor, base, begin, std::min(rows, begin + step)).to(dtype);
      if (tensor.is_float && !at::isfinite(piece).all().item<bool>()) {
        model_error(tensor.name, "would get a value that is not finite in " + io::dtype_name(dtype) +
                                     ". Likely cause: a damaged base, or values too large for float16 (use --dtype bfloat16).");
      }
      append(piece);
      if (!tensor.source.empty()) {
        source_->release(tensor.source);
      }
    }
    log::progress("writing " + tensor.name);
  }

  const models::ModelOptions& options_;
  std::unique_ptr<io::Checkpoint> source_;
  Json config_;
  models::CheckpointLayout checkpoint_;
  peft::BaseLayout layout_;
};

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

}  // namespace

void merge_model(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  require_new_folder(request.output, inputs, request.overwrite);
  const Base base(model);
  // A merged model does not have the fingerprint of its adapters' base.
  const peft::BaseReference reference(model.name, request.unmerge ? "" : base.fingerprint(), request.allow_other_base);
  for (const peft::WeightedAdapter& adapter : adapters) {
    peft::require_same_base(adapter.name, adapter.adapter.base_fingerprint, reference);
    warn_of_other_base(adapter, model);
  }
  peft::MergePlan plan = peft::plan_merge(base.layout(), base.settled(adapters), request.unmerge);
  std::optional<data::LabelSet> labels;
  if (plan.scores_documents) {
    labels = merged_labels(adapters, model.path);
  }
  base.settle_names(plan);
  warn_of_untying(plan);
  std::vector<io::TensorStream> streams;
  for (const peft::MergedTensor& tensor : plan.tensors) {
    streams.push_back(base.stream(tensor));
  }
  write_new_folder(request.output, [&](const fs::path& folder) {
    write_file_atomically(folder / "config.json", base.config_text(plan.unties, labels));
    write_companions(request, model.path, folder);
    io::write_checkpoint(folder, streams, request.max_shard_size);
    log::end_progress();
    if (request.verify) {
      require_equal_merge(request, folder);
    }
  });
  const auto changed = std::count_if(plan.tensors.begin(), plan.tensors.end(), [](const auto& tensor) { return tensor.is_changed(); });
  log::info("wrote " + request.output.string() + ": " + counted(static_cast<int64_t>(plan.tensors.size()), "tensor") + ", " +
            with_thousands(changed) + " of them " + (request.unmerge ? "unmerged" : "merged"));
}

}  // namespace lora::app
