#include "lora/torchscript/archive.h"

#include <algorithm>
#include <set>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/io/zip.h"

namespace lora::torchscript {

namespace {

const char* const kWhat = "TorchScript file, as torch.jit.save writes it";

/// The name without the top folder in which torch puts every entry.
std::string below_root(const std::string& name) {
  return name.substr(name.find('/') + 1);
}

/// Throws if the archive is not TorchScript, but written by torch.export, torch.save or another program.
void require_torchscript(const Archive& archive, const std::string& where) {
  const auto has = [&archive](const auto& is) {
    return std::any_of(archive.entries.begin(), archive.entries.end(), [&is](const ArchiveEntry& entry) { return is(entry.name); });
  };
  const bool has_code = has([](const std::string& name) { return name.starts_with("code/"); });
  const bool has_data = has([](const std::string& name) { return name == "data.pkl"; });
  if (has_code && has_data && has([](const std::string& name) { return name == "constants.pkl"; })) {
    return;
  }
  const std::string expected = ", expected a module saved by torch.jit.save (scripts/export_torchscript.py shows how)";
  if (has([](const std::string& name) { return name == "archive_format" || name.ends_with("serialized_exported_program.json"); })) {
    model_error(where, "is not a TorchScript file: found a program of torch.export" + expected);
  }
  if (has_data) {
    model_error(where, "is not a TorchScript file: found a file of torch.save, which holds values without code" + expected);
  }
  model_error(where, "is not a TorchScript file: found another zip archive" + expected);
}

std::string fingerprint_of(const Archive& archive) {
  std::set<std::string> lines;
  for (const ArchiveEntry& entry : archive.entries) {
    lines.insert(entry.name + '\0' + std::to_string(entry.size) + '\0' + std::to_string(entry.crc) + '\n');
  }
  Sha256 hash;
  for (const std::string& line : lines) {
    hash.add(line.data(), line.size());
  }
  return hash.hexadecimal();
}

}  // namespace

Archive read_archive(const std::filesystem::path& file) {
  const MappedFile mapped(file, ErrorKind::kModel);
  Archive archive;
  std::set<std::string> names;
  for (const io::ZipMember& member : io::zip_members(mapped, kWhat)) {
    io::require_content(mapped, member);
    if (!names.insert(member.name).second) {
      model_error(file.string(), "is damaged: found '" + printable(member.name) + "' twice in the archive. Copy the file again.");
    }
    archive.entries.push_back({below_root(member.name), member.size, member.crc});
  }
  require_torchscript(archive, file.string());
  archive.fingerprint = fingerprint_of(archive);
  return archive;
}

}  // namespace lora::torchscript
