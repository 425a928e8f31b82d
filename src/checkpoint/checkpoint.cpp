#include "lora/checkpoint/checkpoint.h"

#include <algorithm>
#include <charconv>

#include "checkpoint/manifest.h"
#include "checkpoint/trainer_state.h"
#include "lora/base/file.h"
#include "lora/base/log.h"

namespace lora::checkpoint {
namespace {

constexpr std::string_view kPrefix = "checkpoint-";

/// The step in a folder's name, if the name is exactly what folder() returns for it.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  int64_t step = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  const bool canonical = step >= 0 && name == std::string(kPrefix) + std::to_string(step);
  return canonical ? std::optional(step) : std::nullopt;
}

void remove_checkpoint(const fs::path& checkpoint) {
  std::error_code failure;
  fs::remove_all(checkpoint, failure);
  if (failure) {
    output_error(checkpoint.string(), "cannot remove the old checkpoint: " + failure.message() + ". Check the folder's permissions.");
  }
}

}  // namespace

fs::path folder(const fs::path& output_dir, int64_t step) {
  return output_dir / (std::string(kPrefix) + std::to_string(step));
}

void save(const fs::path& output_dir, const TrainerState& state, const std::vector<io::NamedTensor>& optimizer_state,
          const std::function<void(const fs::path&)>& save_result) {
  write_folder_atomically(folder(output_dir, state.step), [&](const fs::path& temporary) {
    save_result(temporary);
    io::save_tensors(temporary / kOptimizerFile, optimizer_state);
    write_file_atomically(temporary / kStateFile, to_json(state).dump(2) + "\n");
    write_manifest(temporary);
  });
}

std::vector<int64_t> steps(const fs::path& output_dir) {
  std::vector<int64_t> found;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(output_dir, failure)) {
    const std::optional<int64_t> step = step_of(entry.path().filename().string());
    if (step && entry.is_directory(failure)) {
      found.push_back(*step);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string fault(const fs::path& checkpoint) {
  return manifest_fault(checkpoint);
}

std::optional<fs::path> newest_valid(const fs::path& output_dir) {
  std::vector<int64_t> candidates = steps(output_dir);
  std::reverse(candidates.begin(), candidates.end());
  for (const int64_t step : candidates) {
    const fs::path checkpoint = folder(output_dir, step);
    const std::string why = fault(checkpoint);
    if (why.empty()) {
      return checkpoint;
    }
    log::warn("[" + checkpoint.string() + "] skipping this damaged checkpoint: " + why);
  }
  return std::nullopt;
}

TrainerState load_state(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kStateFile;
  return trainer_state_from(read_json(file, ErrorKind::kModel), file);
}

void prune(const fs::path& output_dir, int64_t limit, std::optional<int64_t> keep_step) {
  const std::vector<int64_t> all = steps(output_dir);
  if (limit < 1) {
    return;
  }
  int64_t surplus = static_cast<int64_t>(all.size()) - limit;
  for (const int64_t step : all) {
    if (surplus <= 0) {
      return;
    }
    if (step != all.back() && step != keep_step) {
      remove_checkpoint(folder(output_dir, step));
      --surplus;
    }
  }
}

}  // namespace lora::checkpoint
