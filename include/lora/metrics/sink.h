#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::metrics {

/// Takes the rows of a run. A row is a flat JSON object that begins with "step".
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const Json& row) = 0;
};

/// metrics.jsonl: one line a row, flushed. Rows after `resumed_step` that an earlier try left are cut away (0: all);
/// a last line without its end is cut away too.
std::unique_ptr<Sink> make_jsonl_sink(const std::filesystem::path& file, int64_t resumed_step);

/// A plain line on stderr for each row: "step 10/200  loss 2.3145  lr 1.0e-04  …". `unit`: what is counted a second.
std::unique_ptr<Sink> make_console_sink(int64_t total_steps, const std::string& unit = "tokens");

}  // namespace lora::metrics
