#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::data {

/// What is said while rows are read, once that has lasted a second: a bar on a terminal, a line now and then elsewhere.
class ReadingProgress {
 public:
  struct Output {
    std::function<double()> seconds;                     ///< a clock
    std::function<void(const std::string& line)> bar;    ///< none: no terminal
    std::function<void(const std::string& line)> plain;  ///< a line that stays
  };

  /// `name`: of the set. `total_bytes`: of its files, 0 where that is not known.
  ReadingProgress(std::string name, int64_t total_bytes);
  ReadingProgress(std::string name, int64_t total_bytes, Output output);
  ~ReadingProgress();
  ReadingProgress(const ReadingProgress&) = delete;
  ReadingProgress& operator=(const ReadingProgress&) = delete;

  /// `bytes`: how much of the files has been read.
  void update(int64_t bytes, int64_t rows);
  /// All is read.
  void finish(int64_t rows);

 private:
  std::string name_;
  int64_t total_bytes_;
  Output output_;
  double start_;
  double next_;  ///< when something is to be said again
  bool shown_ = false;
};

}  // namespace lora::data
