#include "checkpoint/manifest.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lora/base/file.h"
#include "lora/base/json.h"

namespace lora::checkpoint {
namespace {

constexpr int64_t kFormat = 1;

/// Paths of all files under `folder`, relative to it, sorted.
std::vector<std::string> files_under(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      names.push_back(entry.path().lexically_relative(folder).generic_string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether the name is outside of the folder; a manifest may only name files inside it.
bool leaves_folder(const std::string& name) {
  const fs::path path(name);
  return name.empty() || path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
}

/// Why a file does not match its entry {"size", "sha256"}, or "".
std::string file_fault(const fs::path& folder, const std::string& name, const Json& entry) {
  if (leaves_folder(name)) {
    return "the manifest lists '" + name + "', which is outside of the folder";
  }
  const JsonReader reader(entry, (folder / kManifestFile).string() + ": " + name, ErrorKind::kModel);
  const int64_t size = reader.integer("size");
  std::error_code failure;
  const auto found = fs::file_size(folder / name, failure);
  if (failure) {
    return name + " is missing";
  }
  if (static_cast<int64_t>(found) != size) {
    return name + " has " + std::to_string(found) + " bytes, expected " + std::to_string(size);
  }
  if (sha256_of_file(folder / name, ErrorKind::kModel) != reader.string("sha256")) {
    return "the content of " + name + " has changed (SHA-256)";
  }
  return "";
}

/// Like manifest_fault, but throws model Error if the manifest itself cannot be read.
std::string checked_fault(const fs::path& folder) {
  const Json manifest = read_json(folder / kManifestFile, ErrorKind::kModel);
  const JsonReader reader(manifest, (folder / kManifestFile).string(), ErrorKind::kModel);
  if (reader.integer("format") != kFormat) {
    return "the manifest has format " + std::to_string(reader.integer("format")) + ", expected " + std::to_string(kFormat);
  }
  const Json& files = reader.at("files");
  if (!files.is_object()) {
    reader.fail("files", "an object");
  }
  for (const char* name : {kStateFile, kOptimizerFile}) {
    if (!files.contains(name)) {
      return std::string("the manifest does not list ") + name;
    }
  }
  for (const auto& [name, entry] : files.items()) {
    if (std::string fault = file_fault(folder, name, entry); !fault.empty()) {
      return fault;
    }
  }
  return "";
}

}  // namespace

void write_manifest(const fs::path& folder) {
  Json files = Json::object();
  for (const std::string& name : files_under(folder)) {
    const fs::path file = folder / name;
    files[name] = {{"size", fs::file_size(file)}, {"sha256", sha256_of_file(file, ErrorKind::kOutput)}};
  }
  // Without spaces, so that every byte has a meaning and a change of any byte is noticed.
  write_file_atomically(folder / kManifestFile, Json{{"format", kFormat}, {"files", files}}.dump());
}

std::string manifest_fault(const fs::path& folder) {
  std::error_code failure;
  if (!fs::is_regular_file(folder / kManifestFile, failure)) {
    return std::string(kManifestFile) + " is missing";
  }
  try {
    return checked_fault(folder);
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace lora::checkpoint
