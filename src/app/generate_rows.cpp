#include "app/generate_rows.h"

#include <chrono>
#include <map>
#include <optional>

#include "app/talk.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/python_json.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

/// Writes rows in the order of their indices, although they finish in any order.
class RowWriter {
 public:
  RowWriter(size_t count, const std::optional<ResultFile>& output) : rows_(count), output_(output) {}

  void add(size_t index, const Json& row) {
    rows_[index] = json_line(row) + "\n";
    ++num_done_;
    if (!output_) {
      for (; next_ < rows_.size() && rows_[next_]; ++next_) {
        terminal::print_rows(*rows_[next_]);
      }
    }
  }
  size_t num_done() const { return num_done_; }

  /// Writes the finished rows that were not written yet.
  void finish() const {
    std::string all;
    for (size_t i = next_; i < rows_.size(); ++i) {
      all += rows_[i].value_or("");
    }
    output_ ? output_->write(all) : terminal::print_rows(all);
  }

 private:
  std::vector<std::optional<std::string>> rows_;
  const std::optional<ResultFile>& output_;
  size_t next_ = 0;  ///< the first row that was not printed yet
  size_t num_done_ = 0;
};

Json row_of(size_t index, const data::PromptRow& prompt, const std::optional<std::string>& text, const generate::Completion& completion,
            const std::string& adapter) {
  Json row{{"index", index}};
  if (!prompt.id.is_null()) {
    row["id"] = prompt.id;
  }
  row.update(prompt.given);
  row["completion"] = text ? Json(*text) : Json(nullptr);
  row["output_ids"] = completion.ids;
  row["finish_reason"] = generate::kFinishReasons.name(completion.reason);
  row["adapter"] = adapter.empty() ? Json(nullptr) : Json(adapter);
  return row;
}

/// Completes the prompts of a command and counts them.
class PromptRun {
 public:
  PromptRun(Generation& generation, const std::vector<data::PromptRow>& prompts, RowWriter& writer)
      : generation_(generation), prompts_(prompts), writer_(writer) {}

  void complete(const std::vector<size_t>& indices, const std::string& adapter) {
    std::vector<generate::Prompt> batch;
    std::vector<std::string> stop;
    for (const size_t index : indices) {
      const data::PromptRow& prompt = prompts_[index];
      batch.push_back({prompt.ids, static_cast<int64_t>(index), prompt.is_talk ? generation_.turn_ends(adapter) : std::vector<int32_t>()});
      stop = prompt.is_talk ? talk_stops(generation_, adapter) : stop;
    }
    std::vector<std::string> texts(batch.size());
    const bool has_text = generation_.tokenizer_if_any() != nullptr;
    const auto on_text = [&texts](size_t i, const std::string& piece) { texts[i] += piece; };
    const auto on_finish = [&](size_t i, const generate::Completion& completion) {
      const size_t index = indices[i];
      writer_.add(index, row_of(index, prompts_[index], has_text ? std::optional(texts[i]) : std::nullopt, completion, adapter));
      num_tokens_ += static_cast<int64_t>(completion.ids.size());
      log::progress(figures());
    };
    generation_.complete(batch, adapter, stop, on_text, on_finish);
  }

  std::string figures() const {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    return std::to_string(writer_.num_done()) + " of " + std::to_string(prompts_.size()) + " completions, " + with_thousands(num_tokens_) +
           " tokens, " + with_thousands(static_cast<int64_t>(static_cast<double>(num_tokens_) / seconds)) + " tok/s";
  }

 private:
  Generation& generation_;
  const std::vector<data::PromptRow>& prompts_;
  RowWriter& writer_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  int64_t num_tokens_ = 0;
};

/// Batches of prompt indices: prompts of one adapter are batched together, wherever they are in the file.
std::vector<std::pair<std::string, std::vector<size_t>>> plan_batches(const std::vector<data::PromptRow>& prompts,
                                                                      const std::string& default_adapter, int64_t batch_size) {
  std::map<std::string, std::vector<size_t>> by_adapter;
  for (size_t i = 0; i < prompts.size(); ++i) {
    by_adapter[prompts[i].adapter.value_or(default_adapter)].push_back(i);
  }
  std::vector<std::pair<std::string, std::vector<size_t>>> batches;
  const auto size = static_cast<size_t>(batch_size);
  for (const auto& [adapter, indices] : by_adapter) {
    for (size_t begin = 0; begin < indices.size(); begin += size) {
      const auto first = indices.begin() + static_cast<std::ptrdiff_t>(begin);
      batches.emplace_back(adapter,
                           std::vector<size_t>(first, first + static_cast<std::ptrdiff_t>(std::min(size, indices.size() - begin))));
    }
  }
  return batches;
}

}  // namespace

void generate_rows(Generation& generation, const std::vector<data::PromptRow>& prompts, int64_t batch_size,
                   const std::optional<ResultFile>& output) {
  if (generation.tokenizer_if_any() == nullptr) {
    log::warn("the model has no usable tokenizer: the rows have \"output_ids\", and \"completion\" is null");
  }
  RowWriter writer(prompts.size(), output);
  PromptRun rows(generation, prompts, writer);
  try {
    for (const auto& [adapter, indices] : plan_batches(prompts, generation.default_adapter(), batch_size)) {
      rows.complete(indices, adapter);
    }
  } catch (const Interrupted&) {
    writer.finish();
    log::end_progress();
    log::warn("interrupted: " + rows.figures() + (output ? ", written to " + output->name() : ""));
    throw;
  }
  writer.finish();
  log::end_progress();
  log::info(rows.figures());
}

}  // namespace lora::app
