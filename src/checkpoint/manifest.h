#pragma once
#include <filesystem>
#include <string>

namespace lora::checkpoint {

namespace fs = std::filesystem;

inline constexpr const char* kManifestFile = "MANIFEST.json";
inline constexpr const char* kStateFile = "trainer_state.json";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";

/// Writes MANIFEST.json: size and SHA-256 of every other file under `folder`. Throws output Error.
void write_manifest(const fs::path& folder);

/// Why the files under `folder` do not match its manifest, or "" if they do.
std::string manifest_fault(const fs::path& folder);

}  // namespace lora::checkpoint
