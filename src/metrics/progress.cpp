#include "lora/metrics/progress.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lora/base/log.h"
#include "lora/base/text.h"
#include "metrics/line.h"

namespace lora::metrics {
namespace {

constexpr std::chrono::milliseconds kInterval{100};
constexpr size_t kWidth = 12;  ///< of the bar: the whole line fits 80 columns up to 9999 steps

}  // namespace

std::string progress_bar(double fraction) {
  const auto filled = static_cast<size_t>(std::clamp(fraction, 0.0, 1.0) * kWidth);
  return "[" + std::string(filled, '=') + std::string(kWidth - filled, ' ') + "]";
}

Progress::Progress(std::string unit) : Progress(log::progress, std::move(unit)) {}
Progress::Progress(Show show, std::string unit) : show_(std::move(show)), unit_(std::move(unit)) {}

void Progress::update(int64_t step, int64_t total, double loss, double learning_rate, double units_per_second, double seconds_left) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_ && step < total) {
    return;
  }
  next_ = now + kInterval;
  const double fraction = total > 0 ? static_cast<double>(step) / static_cast<double>(total) : 0;
  std::string line = progress_bar(fraction) + " " + std::to_string(step) + "/" + std::to_string(total) + formatted("  loss %.4f", loss) +
                     formatted("  lr %.1e", learning_rate);
  if (std::isfinite(units_per_second)) {
    line += "  " + rate_text(units_per_second) + " " + unit_ + "/s";
  }
  if (std::isfinite(seconds_left)) {
    line += "  " + human_seconds(std::max(0.0, seconds_left)) + " left";
  }
  show_(line);
}

void Progress::finish() {
  log::end_progress();
}

}  // namespace lora::metrics
