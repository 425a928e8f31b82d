#include "lora/base/log.h"
#include "lora/metrics/sink.h"
#include "metrics/line.h"

namespace lora::metrics {
namespace {

class ConsoleSink : public Sink {
 public:
  explicit ConsoleSink(int64_t total_steps) : total_steps_(total_steps) {}
  void write(const Json& row) override { log::info(console_line(row, total_steps_)); }

 private:
  int64_t total_steps_;
};

}  // namespace

std::unique_ptr<Sink> make_console_sink(int64_t total_steps) {
  return std::make_unique<ConsoleSink>(total_steps);
}

}  // namespace lora::metrics
