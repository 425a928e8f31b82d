#include "lora/base/log.h"
#include "lora/metrics/sink.h"
#include "metrics/line.h"

namespace lora::metrics {
namespace {

class ConsoleSink : public Sink {
 public:
  ConsoleSink(int64_t total_steps, std::string unit) : total_steps_(total_steps), unit_(std::move(unit)) {}
  void write(const Json& row) override { log::info(console_line(row, total_steps_, unit_)); }

 private:
  int64_t total_steps_;
  std::string unit_;
};

}  // namespace

std::unique_ptr<Sink> make_console_sink(int64_t total_steps, const std::string& unit) {
  return std::make_unique<ConsoleSink>(total_steps, unit);
}

}  // namespace lora::metrics
