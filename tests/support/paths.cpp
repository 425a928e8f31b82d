#include "support/paths.h"

namespace lora::test {

std::string data_folder() { return LORA_SOURCE_FOLDER "/tests/data"; }

std::string source_folder() { return LORA_SOURCE_FOLDER; }

std::string program_folder() { return LORA_PROGRAM_FOLDER; }

}  // namespace lora::test
