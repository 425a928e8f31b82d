#pragma once
#include <c10/core/Device.h>

namespace c10 {
class Stream;
}

namespace lora::ops {

/// The device's stream that work of this thread goes to.
c10::Stream current_stream(c10::Device device);

/// One that is not the current one.
c10::Stream other_stream(c10::Device device);

/// Work that `later` is given from now on begins when what `earlier` has been given is done.
void follow(const c10::Stream& later, const c10::Stream& earlier);

}  // namespace lora::ops
