#include "preview.h"

#include <algorithm>

#include "lora/base/terminal.h"
#include "lora/nn/token_batch.h"

namespace lora::app {

namespace {

std::string text_of(const std::vector<int32_t>& ids, const tokenizer::Tokenizer* tokenizer) {
  if (tokenizer != nullptr) {
    return terminal::visible(tokenizer->decode(ids, /*show_special=*/true));
  }
  std::string text;
  for (const int32_t id : ids) {
    text += (text.empty() ? "" : " ") + std::to_string(id);
  }
  return text;
}

std::string marked(const std::string& text, bool supervised, bool colour) {
  if (colour) {
    return (supervised ? "\033[32m" : "\033[2m") + text + "\033[0m";
  }
  return supervised ? "⟦" + text + "⟧" : text;
}

/// The sample in runs of supervised and unsupervised tokens. The first token has nothing before it, so it is never
/// predicted, whatever its label.
std::string marked_sample(const data::Example& example, const tokenizer::Tokenizer* tokenizer, bool colour) {
  std::string text;
  const auto supervised = [&example](size_t i) { return i > 0 && example.label(i) != nn::kIgnoreLabel; };
  for (size_t begin = 0; begin < example.ids.size();) {
    size_t end = begin + 1;
    while (end < example.ids.size() && supervised(end) == supervised(begin)) {
      ++end;
    }
    const std::vector<int32_t> run(example.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                   example.ids.begin() + static_cast<std::ptrdiff_t>(end));
    text += (text.empty() || tokenizer != nullptr ? "" : " ") + marked(text_of(run, tokenizer), supervised(begin), colour);
    begin = end;
  }
  return text;
}

std::string sample_facts(const data::Example& example) {
  return std::to_string(example.ids.size()) + " tokens, " +
         (example.has_target() ? "label " + Json(example.target).dump() : std::to_string(example.num_supervised()) + " supervised");
}

std::string dense_sample(const data::Example& example) {
  const data::DenseRow& row = *example.dense;
  const Json target = row.targets.empty() ? Json(example.target) : Json(row.targets);
  return "features " + Json(row.shape).dump() + (example.has_target() ? ", target " + shown(target) : "");
}

}  // namespace

std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const tokenizer::Tokenizer* tokenizer, bool colour,
                           size_t count) {
  std::string report;
  for (const peft::TargetMatch& match : method.matches()) {
    report += "target " + match.entry + "\n";
    for (const std::string& host : match.hosts) {
      report += "  " + host + "\n";
    }
  }
  for (size_t i = 0; i < std::min(count, train.examples.size()); ++i) {
    const data::Example& example = train.examples[i];
    report += "sample " + example.origin.text() + ": " + (example.dense != nullptr ? dense_sample(example) : sample_facts(example)) + "\n";
    if (example.dense == nullptr) {
      report += "  " + marked_sample(example, tokenizer, colour) + "\n";
    }
  }
  return report;
}

}  // namespace lora::app
