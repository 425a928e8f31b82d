#include "lora/app/guard.h"

#include <c10/util/Exception.h>
#include <torch/version.h>

#include <new>
#include <string_view>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

constexpr int kUnforeseen = static_cast<int>(ErrorKind::kUnforeseen);

void tell_of_memory(const std::string& what) {
  log::error("[memory] " + what +
             ". Use a smaller max_length, gradient_checkpointing \"full\", or a smaller per_device_train_batch_size with more "
             "gradient_accumulation_steps.");
}

/// LibTorch's CPU allocator has no error type of its own.
bool is_of_memory(const c10::Error& error) {
  return std::string_view(error.what_without_backtrace()).find("can't allocate memory") != std::string_view::npos;
}

}  // namespace

const char* version_text() {
  return "lora-train " LORA_VERSION " (LibTorch " TORCH_VERSION ")";
}

int guarded(const std::function<int()>& command) {
  try {
    return command();
  } catch (const Error& error) {
    log::end_progress();
    log::error(error.what());
    return error.exit_code();
  } catch (const Interrupted& interrupted) {
    log::end_progress();
    return 128 + interrupted.signal;
  } catch (const c10::OutOfMemoryError& error) {
    log::end_progress();
    tell_of_memory("the device is out of memory: " + first_line(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    log::end_progress();
    if (is_of_memory(error)) {
      tell_of_memory("the machine is out of memory");
    } else {
      log::error("[torch] " + first_line(error.what_without_backtrace()));
    }
  } catch (const std::bad_alloc&) {
    log::end_progress();
    tell_of_memory("the machine is out of memory");
  } catch (const std::exception& error) {
    log::end_progress();
    log::error(std::string("[unforeseen] ") + first_line(error.what()));
  }
  return kUnforeseen;
}

}  // namespace lora::app
