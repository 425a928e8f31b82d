#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace lora::metrics {

/// "[====        ]": so much of a whole (0 to 1) is done.
std::string progress_bar(double fraction);

/// The bar on the last line of a terminal, rewritten at most ten times a second; nothing where there is no terminal
/// (log::progress decides). Plain lines are the console sink's.
class Progress {
 public:
  using Show = std::function<void(const std::string&)>;

  /// Shows by log::progress. `unit`: what is counted a second.
  explicit Progress(std::string unit = "tok");
  /// Shows by `show`, for tests.
  explicit Progress(Show show, std::string unit = "tok");

  /// `step` of `total` is done. The first and the last step are always shown.
  void update(int64_t step, int64_t total, double loss, double learning_rate, double units_per_second, double seconds_left);
  /// Ends the bar's line; plain lines follow it.
  void finish();

 private:
  Show show_;
  std::string unit_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace lora::metrics
