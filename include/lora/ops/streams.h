#pragma once
#include <c10/core/Device.h>

namespace c10 {
class Stream;
}

namespace lora::ops {

/// The device's current stream in this thread.
c10::Stream current_stream(c10::Device device);

/// A stream other than the current one.
c10::Stream other_stream(c10::Device device);

/// Work given to `later` from now on starts after everything that `earlier` has been given is done.
void follow(const c10::Stream& later, const c10::Stream& earlier);

}  // namespace lora::ops
