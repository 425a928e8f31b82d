#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace lora::metrics {

/// "[====        ]" for a completed fraction from 0 to 1.
std::string progress_bar(double fraction);

/// The progress bar on the last line of a terminal, rewritten at most ten times per second. Without a terminal nothing is shown
/// (log::progress decides); the console sink writes plain lines.
class Progress {
 public:
  using Show = std::function<void(const std::string&)>;

  /// Shows the bar with log::progress. `unit`: what is counted per second.
  explicit Progress(std::string unit = "tok");
  /// Shows the bar with `show`, for tests.
  explicit Progress(Show show, std::string unit = "tok");

  /// `step` of `total` is completed. The first and the last step are always shown.
  void update(int64_t step, int64_t total, double loss, double learning_rate, double units_per_second, double seconds_left);
  /// Ends the bar's line, so that plain lines can follow.
  void finish();

 private:
  Show show_;
  std::string unit_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace lora::metrics
