#include <algorithm>
#include <utility>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "lora/data/dataset.h"

namespace lora::data {
namespace {

constexpr uint64_t kHoldOut = 0x401d;  // distinguishes this use of the seed

// Parts of one row are adjacent and share its number, so that no row is in both sets.
std::vector<int64_t> row_numbers(const std::vector<Example>& examples) {
  std::vector<int64_t> numbers;
  int64_t row = -1;
  for (size_t i = 0; i < examples.size(); ++i) {
    row += examples[i].continues_row ? 0 : 1;
    numbers.push_back(row);
  }
  return numbers;
}

// The rows that are held out: those whose random number is below the fraction, or the closest one if a set would be empty.
std::vector<bool> draw(int64_t num_rows, double fraction, uint64_t seed) {
  std::vector<double> draws;
  for (int64_t row = 0; row < num_rows; ++row) {
    draws.push_back(CounterRandom(mix64(mix64(seed, kHoldOut), static_cast<uint64_t>(row))).uniform());
  }
  std::vector<bool> held;
  for (const double value : draws) {
    held.push_back(value < fraction);
  }
  const auto count = std::count(held.begin(), held.end(), true);
  if (count == 0) {
    held[std::min_element(draws.begin(), draws.end()) - draws.begin()] = true;
  } else if (count == num_rows) {
    held[std::max_element(draws.begin(), draws.end()) - draws.begin()] = false;
  }
  return held;
}

}  // namespace

Dataset split_off(Dataset& dataset, double fraction, uint64_t seed) {
  const std::vector<int64_t> rows = row_numbers(dataset.examples);
  if (rows.empty() || rows.back() == 0) {
    data_error("data.eval_fraction", "too few rows to hold out any: found " + std::to_string(rows.empty() ? 0 : 1) +
                                         " row, expected at least 2. Use separate evaluation rows in data.eval.");
  }
  const std::vector<bool> held = draw(rows.back() + 1, fraction, seed);
  Dataset held_out;
  held_out.files = dataset.files;
  const std::optional<int64_t> first_real = std::exchange(dataset.labels.first_real, std::nullopt);
  held_out.labels = dataset.labels;
  std::vector<Example> kept;
  for (size_t i = 0; i < rows.size(); ++i) {
    Example& example = dataset.examples[i];
    if (static_cast<int64_t>(i) == first_real) {
      (held[rows[i]] ? held_out.labels : dataset.labels).first_real =
          static_cast<int64_t>(held[rows[i]] ? held_out.examples.size() : kept.size());
    }
    if (held[rows[i]] && example.image() != nullptr && example.continues_row) {
      continue;  // a copy, or another form of it
    }
    if (held[rows[i]]) {
      example.weight = 1.0;  // weights only apply to training
      held_out.examples.push_back(std::move(example));
    } else {
      kept.push_back(std::move(example));
    }
  }
  held_out.report.rows = std::count(held.begin(), held.end(), true);
  dataset.examples = std::move(kept);
  return held_out;
}

}  // namespace lora::data
