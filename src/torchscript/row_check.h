#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "lora/data/dataset.h"
#include "script_row_model.h"

namespace lora::torchscript {

/// How far apart results may be that are the same but for rounding: shares of how far the rows' are apart, and of their size.
struct Slack {
  double of_spread, of_size;

  /// Of results of batches of one size, which are rounded in one way.
  Slack of_one_size() const { return {of_spread / 4, of_size / 4}; }
};

/// Some of the rows as a batch, numbered by their places, so that what is drawn for a place does not depend on the row that stands there.
nn::TokenBatch batch_of(const data::Dataset& rows, const std::vector<int64_t>& indices, at::Device device);

/// Whether each row's result is its own, by results of batches of the tried rows. Batches of one size are rounded in one way, so that
/// these can be compared closely in half precision too.
class RowCheck {
 public:
  /// @param rows as tried_rows makes them.
  RowCheck(ScriptRowModel& model, const data::Dataset& rows);
  virtual ~RowCheck() = default;

  void run();

 protected:
  using Indices = std::vector<int64_t>;

  virtual void check() = 0;
  /// Whether a document gives something else beside a longer one than alone.
  virtual bool sees_length(const data::Dataset& rows_of_two_lengths) const = 0;

  nn::TokenBatch batch(const Indices& indices) const { return batch_of(rows_, indices, model_.device()); }
  at::Tensor result(const nn::TokenBatch& batch, bool training = false) const;
  [[noreturn]] void fail(const std::string& form) const;
  /// That what is random in it is not drawn by row.
  void warn_of_draws() const;
  /// That all rows give the same, so that nothing is seen of what they do to each other.
  void warn_of_same_results() const;

  ScriptRowModel& model_;
  const data::Dataset& rows_;
  int64_t count_;
  Slack slack_;

 private:
  std::optional<data::Dataset> rows_of_two_lengths() const;
  bool sees_padding(const data::Dataset& rows) const;
};

/// That of a module that gives predictions; tells the model how many.
std::unique_ptr<RowCheck> make_prediction_check(ScriptRowModel& model, const data::Dataset& rows);

/// That of a module that gives their loss; tells the model what it is a mean over.
std::unique_ptr<RowCheck> make_loss_check(ScriptRowModel& model, const data::Dataset& rows);

}  // namespace lora::torchscript
