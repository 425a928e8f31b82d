#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "lora/data/dataset.h"
#include "torchscript/script_row_model.h"

namespace lora::torchscript {

/// Tolerances for results that are equal except for rounding, relative to the spread of the rows' results and to their size.
struct Slack {
  double of_spread, of_size;

  /// For results of batches of the same size, which are rounded in the same way.
  Slack of_one_size() const { return {of_spread / 4, of_size / 4}; }
};

/// Some of the rows as a batch, numbered by their position in it, so that random numbers belong to a position and not to a row.
nn::Batch batch_of(const data::Dataset& rows, const std::vector<int64_t>& indices, at::Device device);

/// Checks that each row's result is independent of the others, by comparing batches of the tried rows. Batches of the same size are rounded
/// in the same way, so that they can be compared closely in half precision too.
class RowCheck {
 public:
  /// @param rows those of tried_rows.
  RowCheck(ScriptRowModel& model, const data::Dataset& rows);
  virtual ~RowCheck() = default;

  void run();

 protected:
  using Indices = std::vector<int64_t>;

  virtual void check() = 0;
  /// Whether a document's result is different in a batch with a longer one.
  virtual bool sees_length(const data::Dataset& rows_of_two_lengths) const = 0;

  nn::Batch batch(const Indices& indices) const { return batch_of(rows_, indices, model_.device()); }
  at::Tensor result(const nn::Batch& batch, bool training = false) const;
  [[noreturn]] void fail(const std::string& form) const;
  /// Warns that randomness in the module is not drawn by row.
  void warn_of_draws() const;
  /// Warns that all rows have the same result, so that their independence cannot be checked.
  void warn_of_same_results() const;

  ScriptRowModel& model_;
  const data::Dataset& rows_;
  int64_t count_;
  Slack slack_;

 private:
  std::optional<data::Dataset> rows_of_two_lengths() const;
  bool sees_padding(const data::Dataset& rows) const;
};

/// The check of a module that returns predictions. Sets their number on the model.
std::unique_ptr<RowCheck> make_prediction_check(ScriptRowModel& model, const data::Dataset& rows);

/// The check of a module that returns a loss. Sets what it is a mean over on the model.
std::unique_ptr<RowCheck> make_loss_check(ScriptRowModel& model, const data::Dataset& rows);

}  // namespace lora::torchscript
