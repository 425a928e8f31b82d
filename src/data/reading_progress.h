#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::data {

/// Progress output while rows are read, after the first second: a bar on a terminal, otherwise an occasional line.
class ReadingProgress {
 public:
  struct Output {
    std::function<double()> seconds;                     ///< a clock
    std::function<void(const std::string& line)> bar;    ///< none if there is no terminal
    std::function<void(const std::string& line)> plain;  ///< a permanent line
  };

  /// `name`: of the set. `total_bytes`: of its files, 0 if unknown.
  ReadingProgress(std::string name, int64_t total_bytes);
  ReadingProgress(std::string name, int64_t total_bytes, Output output);
  ~ReadingProgress();
  ReadingProgress(const ReadingProgress&) = delete;
  ReadingProgress& operator=(const ReadingProgress&) = delete;

  /// `bytes`: of the files, read so far.
  void update(int64_t bytes, int64_t rows);
  /// Call it when everything has been read.
  void finish(int64_t rows);

 private:
  std::string name_;
  int64_t total_bytes_;
  Output output_;
  double start_;
  double next_;  ///< time of the next output
  bool shown_ = false;
};

}  // namespace lora::data
