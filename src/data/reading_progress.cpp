#include "data/reading_progress.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "lora/base/counted.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/metrics/progress.h"

namespace lora::data {
namespace {

constexpr double kPatience = 1.0;  // seconds without any output
constexpr double kBarInterval = 0.1;
constexpr double kLineInterval = 10.0;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ReadingProgress::Output to_log() {
  ReadingProgress::Output output{steady_seconds, nullptr, log::info};
  if (log::is_terminal()) {
    output.bar = log::progress;
  }
  return output;
}

}  // namespace

ReadingProgress::ReadingProgress(std::string name, int64_t total_bytes) : ReadingProgress(std::move(name), total_bytes, to_log()) {}

ReadingProgress::ReadingProgress(std::string name, int64_t total_bytes, Output output)
    : name_(std::move(name)), total_bytes_(total_bytes), output_(std::move(output)), start_(output_.seconds()), next_(start_ + kPatience) {}

void ReadingProgress::update(int64_t bytes, int64_t rows) {
  const double now = output_.seconds();
  if (now < next_) {
    return;
  }
  next_ = now + (output_.bar ? kBarInterval : kLineInterval);
  shown_ = true;
  std::string text = counted(rows, "row");
  const double fraction = total_bytes_ > 0 ? std::min(1.0, static_cast<double>(bytes) / static_cast<double>(total_bytes_)) : 0;
  if (fraction > 0) {
    text = std::to_string(static_cast<int>(100 * fraction)) + " %  " + text + "  " +
           human_seconds((now - start_) * (1 - fraction) / fraction) + " left";
  }
  output_.bar ? output_.bar("reading " + name_ + "  " + lora::metrics::progress_bar(fraction) + " " + text)
              : output_.plain("reading " + name_ + "  " + text);
}

void ReadingProgress::finish(int64_t rows) {
  if (shown_) {
    output_.plain("read " + name_ + ": " + counted(rows, "row") + " in " + human_seconds(output_.seconds() - start_));
  }
}

ReadingProgress::~ReadingProgress() {
  if (shown_ && output_.bar) {
    log::end_progress();  // also if an error ends the reading
  }
}

}  // namespace lora::data
