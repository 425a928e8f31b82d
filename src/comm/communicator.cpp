#include "lora/comm/communicator.h"

#include <c10/util/Exception.h>

#include <functional>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::comm {
namespace {

/// Calls `exchange`; an error of the backend names the process. Lack of memory is not an error of the exchange.
void exchanged(const Communicator& communicator, const std::function<void()>& exchange) {
  try {
    exchange();
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    throw Error(ErrorKind::kUnforeseen, "process " + std::to_string(communicator.rank()) + " of " + std::to_string(communicator.size()),
                "the processes cannot exchange values: " + first_line(error.what_without_backtrace()) +
                    ". Likely cause: another process has ended; its own message says why.");
  }
}

}  // namespace

void Communicator::all_reduce_sum(std::span<double> values) {
  exchanged(*this, [&] { sum(values); });
}

void Communicator::all_reduce_sum(std::span<const at::Tensor> tensors) {
  exchanged(*this, [&] { sum(tensors); });
}

}  // namespace lora::comm
