#pragma once

namespace lora {

/// Lets the C library keep memory that is freed instead of giving it back to the system: a training step asks for the same
/// gigabytes as the one before, and a page that comes back must be cleared again. For programs, at their start; does
/// nothing where the C library is not glibc.
void keep_freed_memory();

}  // namespace lora
