#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/io/tensors.h"

namespace lora::checkpoint {

namespace fs = std::filesystem;

/// What a run must remember besides its parameters and optimiser moments. Randomness has no state (lora/base/random.h).
struct TrainerState {
  int64_t step = 0;  ///< optimiser steps done
  double epoch = 0;
  std::optional<double> best_metric;
  std::optional<int64_t> best_step;      ///< its checkpoint
  int64_t evaluations_without_gain = 0;  ///< early stopping's counter
  double loss_scale = 0;                 ///< float16; 0 where there is none
  int64_t loss_scale_growth = 0;         ///< steps since it changed
  int64_t batch_halvings = 0;            ///< how often memory was too small for a micro-batch
  int64_t batch_size = 0;                ///< found for "auto"; 0: the config gives it
  int64_t supervised_since_log = 0;      ///< counters of the next metrics row
  int64_t input_since_log = 0;
  std::optional<int64_t> evaluated_step;  ///< step of the last evaluation
  std::optional<double> last_eval_loss;   ///< and its loss
  bool evaluation_due = false;            ///< a signal cut the evaluation of this step short
  std::string run_id;                     ///< hash of config, base, data and tokenizer: whose checkpoint this is
};

/// Writes output_dir/checkpoint-<step>: what `save_result` puts into the folder it is given, optimizer.safetensors,
/// trainer_state.json and, last, MANIFEST.json (size and SHA-256 of each file). Seen complete or not at all.
void save(const fs::path& output_dir, const TrainerState& state, const std::vector<io::NamedTensor>& optimizer_state,
          const std::function<void(const fs::path&)>& save_result);

/// Step of every folder `checkpoint-<step>` in output_dir, ascending, valid or not.
std::vector<int64_t> steps(const fs::path& output_dir);
fs::path folder(const fs::path& output_dir, int64_t step);

/// Why the checkpoint cannot be used (a file missing, of another size or hash), or "" if its manifest holds.
std::string fault(const fs::path& checkpoint);

/// The newest checkpoint whose manifest holds; each newer damaged one is warned of.
std::optional<fs::path> newest_valid(const fs::path& output_dir);

/// Throws model Error if trainer_state.json cannot be read.
TrainerState load_state(const fs::path& checkpoint);

/// Removes the oldest checkpoints so that at most `limit` stay, never `keep_step` (the best) nor the newest.
/// A limit below 1 keeps all. Throws output Error if one cannot be removed.
void prune(const fs::path& output_dir, int64_t limit, std::optional<int64_t> keep_step);

}  // namespace lora::checkpoint
