#include "app/init_config.h"

#include <algorithm>
#include <cmath>

#include "lora/base/counted.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

using data::RowFormat;

constexpr int64_t kTokensPerBatch = 4096;  // in one forward pass: fits into the memory of most machines
constexpr int64_t kLongestDocument = 4096;
constexpr int64_t kLongestBin = 1024;
constexpr int64_t kStepsPerEpoch = 25;  // at least, if there are enough rows
constexpr int64_t kLargestBatch = 16;
constexpr int64_t kRowsForEvaluation = 100;  // with fewer, none are held out
constexpr double kShareKept = 0.99;          // share of documents that max_length does not truncate

int64_t rounded_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// The largest power of two that is at most `value`, within bounds.
int64_t power_of_two(int64_t value, int64_t most) {
  int64_t power = 1;
  while (power * 2 <= std::min(value, most)) {
    power *= 2;
  }
  return power;
}

/// Makes the choices of one config, section by section.
class Chooser {
 public:
  Chooser(const ModelFacts& model, const RowFacts& rows, const InitPaths& paths) : model_(model), rows_(rows), paths_(paths) {}

  InitPlan plan() {
    choose_model();
    choose_adapter();
    choose_data();
    choose_length();
    choose_training();
    choose_evaluation();
    set("output_dir", paths_.output_dir, "checkpoints, metrics and the adapter are written here");
    note_undecided();
    return std::move(plan_);
  }

 private:
  void set(const std::string& key, const Json& value, const std::string& reason) {
    const size_t dot = key.find('.');
    if (dot == std::string::npos) {
      plan_.config[key] = value;
    } else {
      plan_.config[key.substr(0, dot)][key.substr(dot + 1)] = value;
    }
    plan_.choices.push_back({key, value, reason});
  }

  /// A key of the only training source.
  void set_source(const std::string& key, const Json& value, const std::string& reason) {
    plan_.config["data"]["train"][0][key] = value;
    plan_.choices.push_back({"data.train[0]." + key, value, reason});
  }

  void undecided(const std::string& sentence) { plan_.undecided.push_back(sentence); }

  bool is_text() const { return rows_.survey.format == RowFormat::kText; }

  int64_t held_out() const { return static_cast<int64_t>(std::llround(static_cast<double>(rows_.survey.num_rows) * eval_fraction_)); }

  /// Documents, or with packing bins, that an epoch trains on.
  int64_t num_items() const {
    const int64_t count = rows_.survey.num_rows - held_out();
    if (!is_text()) {
      return std::max<int64_t>(1, count);
    }
    double tokens = 0;
    for (const int64_t length : rows_.lengths) {
      tokens += static_cast<double>(length);
    }
    tokens *= static_cast<double>(count) / static_cast<double>(rows_.lengths.size());
    return std::max<int64_t>(1, std::llround(tokens / static_cast<double>(max_length_)));
  }

  void choose_model() {
    set("model.path", paths_.model, model_.model_type + ", " + with_thousands(model_.num_parameters) + " parameters");
    set("model.dtype", "auto", "the data type of the checkpoint, " + model_.dtype);
  }

  void choose_adapter() {
    set("adapter.peft_type", "LORA", "trains two small matrices per module and leaves the base model unchanged");
    set("adapter.r", 16, "a common rank: enough for style and format; raise it to teach much new content");
    set("adapter.lora_alpha", 32, "twice the rank, so that the adapter is scaled by 2");
    set("adapter.lora_dropout", 0.05, "a little dropout against overfitting on few rows");
    if (rows_.has_labels() && !model_.family_targets.empty()) {
      set("adapter.target_modules", model_.family_targets, "PEFT's default for " + model_.model_type + ", enough for a classifier");
    } else {
      set("adapter.target_modules", "all-linear", "every linear layer but the output head: " + join(model_.linear, ", ", 8));
    }
  }

  std::string counted_rows() const { return (rows_.survey.has_more ? "more than " : "") + counted(rows_.survey.num_rows, "row"); }

  void choose_source() {
    set_source("path", paths_.data, counted_rows());
    set_source("format", data::kRowFormats.name(rows_.survey.format),
               rows_.survey.is_plain_text ? "a .txt file" : "the columns of the rows are those of this format");
    if (rows_.survey.is_plain_text) {
      const bool is_line = rows_.survey.documents == data::TextDocuments::kLine;
      set_source("documents", data::kTextDocuments.name(rows_.survey.documents),
                 is_line ? "each line is a document" : "blank lines separate blocks of several lines, each of which is a document");
    }
  }

  void choose_data() {
    choose_source();
    if (rows_.survey.num_rows >= kRowsForEvaluation) {
      eval_fraction_ = rows_.survey.num_rows < 1'000 ? 0.1 : rows_.survey.num_rows < 10'000 ? 0.05 : 0.02;
      set("data.eval_fraction", eval_fraction_,
          "holds out about " + counted(held_out(), "row") + ", which show when training begins to overfit");
    }
    if (rows_.are_messages) {
      choose_template();
    } else if (rows_.survey.format == RowFormat::kInstruction && model_.has_template) {
      set("data.chat_template", "model", "the model's own template, so that its chat format stays the same");
    }
    if (data::has_prompt(rows_.survey.format)) {
      set("data.train_on", "completion", "only the answers are predicted, not the prompts");
    }
    if (is_text()) {
      set("data.packing", true, "puts short documents together, so that batches are full; none attends to another");
      set("data.overlength", "split", "longer documents are cut into parts, so that no text is lost");
    }
  }

  void choose_template() {
    if (!rows_.chat_template) {
      set("data.chat_template", "model", "the model's own template");
      return;
    }
    set("data.chat_template", *rows_.chat_template,
        rows_.template_fits ? "the model has no template; the tokenizer knows the control tokens of this one"
                            : "the model has no template; this one needs no control tokens besides the end-of-sequence token");
    undecided("Which chat template the model should use: it has none of its own, and data.chat_template is a guess.");
  }

  /// The length that suits the rows: all of them, or 99 % where few are much longer than the rest.
  int64_t usual_length() const {
    const int64_t usual = rows_.length_at(kShareKept);
    return rows_.lengths.back() <= 2 * usual ? rows_.lengths.back() : usual;
  }

  void choose_length() {
    const int64_t usual = usual_length();
    const int64_t most = std::min(is_text() ? kLongestBin : kLongestDocument, model_.max_positions.value_or(kLongestDocument));
    max_length_ = std::clamp<int64_t>(rounded_up(usual, 64), std::min<int64_t>(is_text() ? 256 : 64, most), most);
    std::string reason = (usual == rows_.lengths.back() ? "the longest document has " : "99 % of the documents have at most ") +
                         counted(usual, "token") + (is_text() ? "; this is the size of a pack" : "");
    if (usual > max_length_) {
      const bool by_model = model_.max_positions && *model_.max_positions == max_length_;
      reason += std::string("; limited to ") + (by_model ? "the positions of the model" : "save memory");
    }
    set("data.max_length", max_length_, reason);
    const int64_t longer = rows_.num_longer(max_length_);
    if (longer > 0 && !is_text()) {
      undecided("Whether the ends of long rows matter: " + with_thousands(longer) + " of " + with_thousands(rows_.num_encoded) +
                " are longer than data.max_length and are truncated. The longest has " + counted(rows_.lengths.back(), "token") + ".");
    }
  }

  int64_t num_epochs() const {
    const int64_t rows = rows_.survey.num_rows;
    return rows_.has_labels() ? (rows < 1'000 ? 10 : rows < 10'000 ? 5 : 3) : (rows < 5'000 ? 3 : rows < 50'000 ? 2 : 1);
  }

  void choose_batch() {
    const int64_t items = num_items();
    const int64_t batch = power_of_two(items / kStepsPerEpoch, kLargestBatch);
    const int64_t length = is_text() ? max_length_ : std::min(max_length_, usual_length());
    const int64_t at_once = power_of_two(kTokensPerBatch / std::max<int64_t>(1, length), batch);
    const std::string unit = is_text() ? "pack" : rows_.has_labels() ? "row" : "document";
    set("training.per_device_train_batch_size", at_once,
        counted(at_once, unit) + " at a time, with at most about " + with_thousands(at_once * length) + " tokens");
    const int64_t steps_per_epoch = (items + batch - 1) / batch;
    set("training.gradient_accumulation_steps", batch / at_once,
        counted(batch, unit) + " per optimiser step, about " + counted(steps_per_epoch, "step") + " per epoch");
    steps_ = num_epochs() * steps_per_epoch;
  }

  void choose_training() {
    if (rows_.has_labels()) {
      const std::string classes = rows_.num_labels ? " (" + std::to_string(*rows_.num_labels) + " classes)" : "";
      const bool is_value = rows_.label_kind == data::LabelKind::kReals;
      set("training.objective", "sequence_classification",
          is_value ? "each row has a value as its label" : "each row has a label" + classes);
    }
    set("training.num_train_epochs", num_epochs(), "passes over " + counted_rows() + "; fewer rows would need more passes");
    choose_batch();
    set("training.learning_rate", 2e-4, "a common rate for LoRA, ten times that of full fine-tuning");
    set("training.lr_scheduler_type", "cosine", "falls smoothly to 0 at the end of the run");
    set("training.warmup_ratio", 0.03, "rises to the peak in the first 3 % of the steps");
    const int64_t logging = std::clamp<int64_t>(steps_ / 20, 1, 10);
    set("training.logging_steps", logging, "a line of metrics every " + counted(logging, "step") + " of about " + with_thousands(steps_));
  }

  void choose_evaluation() {
    const bool by_epoch = num_epochs() > 1;
    if (eval_fraction_ > 0) {
      const std::string when = by_epoch ? "after each epoch" : "five times in the epoch";
      set("training.eval_strategy", by_epoch ? "epoch" : "steps", "evaluates the rows held out " + when);
      if (!by_epoch) {
        set("training.eval_steps", 0.2, "a fifth of all steps");
      }
      set("training.save_strategy", by_epoch ? "epoch" : "steps", "a checkpoint with each evaluation, from which a run can resume");
      if (!by_epoch) {
        set("training.save_steps", 0.2, "as training.eval_steps");
      }
      set("training.save_total_limit", 2, "keeps the best and the last checkpoint");
      set("training.load_best_model_at_end", true, "the result is the checkpoint with the best evaluation");
      if (rows_.has_labels() && rows_.label_kind != data::LabelKind::kReals) {
        set("training.metric_for_best_model", "eval_accuracy", "the share of rows whose class is predicted correctly");
      }
      return;
    }
    set("training.save_strategy", "epoch", "a checkpoint after each epoch, from which a run can resume");
    set("training.save_total_limit", 1, "keeps the last checkpoint");
  }

  void note_undecided() {
    if (eval_fraction_ == 0) {
      undecided("How well the result generalises: " + counted_rows() +
                " are too few to hold some out. Give data.eval if you have other rows.");
    }
    if (rows_.label_kind == data::LabelKind::kIntegers) {
      undecided("Whether the whole-number labels are values: they are taken as classes. Write values with a decimal point (3.0).");
    }
    if (rows_.survey.is_plain_text && rows_.survey.documents == data::TextDocuments::kLine) {
      undecided("Whether each line is a document: \"documents\": \"paragraph\" or \"file\" in data.train takes more lines as one.");
    }
    for (const std::string& columns : rows_.unused_columns) {
      undecided("What these columns are for, which are not used: " + columns + ".");
    }
    if (rows_.survey.num_rows > rows_.num_encoded || rows_.survey.has_more) {
      undecided("The lengths of all rows: they were measured on the first " + with_thousands(rows_.num_encoded) + ".");
    }
    undecided("Whether the run fits into memory: --dry-run estimates it. If it does not, lower data.max_length or the batch size.");
  }

  const ModelFacts& model_;
  const RowFacts& rows_;
  const InitPaths& paths_;
  InitPlan plan_;
  double eval_fraction_ = 0;
  int64_t max_length_ = 0;
  int64_t steps_ = 0;
};

}  // namespace

InitPlan choose_config(const ModelFacts& model, const RowFacts& rows, const InitPaths& paths) {
  return Chooser(model, rows, paths).plan();
}

}  // namespace lora::app
