#pragma once

namespace lora {

/// Lets the C library keep freed memory instead of returning it to the system: a training step allocates the same
/// gigabytes as the one before, and the system clears every page that it hands out again. Programs call it at their
/// start; it does nothing where the C library is not glibc.
void keep_freed_memory();

}  // namespace lora
