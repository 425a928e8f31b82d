#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/io/tensors.h"

namespace lora::checkpoint {

namespace fs = std::filesystem;

/// What a run must remember besides its parameters and optimizer moments. Randomness has no state: every random number is a pure
/// function of seed, step and position.
struct TrainerState {
  int64_t step = 0;  ///< completed optimizer steps
  double epoch = 0;
  std::optional<double> best_metric;
  std::optional<int64_t> best_step;      ///< the step of the checkpoint with best_metric
  int64_t evaluations_without_gain = 0;  ///< the counter of early stopping
  double loss_scale = 0;                 ///< for float16; 0: not used
  int64_t loss_scale_growth = 0;         ///< steps since loss_scale changed
  int64_t batch_halvings = 0;            ///< how often the micro-batch was halved because memory was too small
  int64_t batch_size = 0;                ///< found for "auto"; 0: given by the config
  int64_t supervised_since_log = 0;      ///< counters for the next metrics row
  int64_t input_since_log = 0;
  std::optional<int64_t> evaluated_step;  ///< step of the last evaluation
  std::optional<double> last_eval_loss;   ///< the loss of that evaluation
  bool evaluation_due = false;            ///< a signal interrupted the evaluation of this step
  std::string run_id;                     ///< hash of config, base, data and tokenizer: identifies the run that the checkpoint belongs to
};

/// Writes output_dir/checkpoint-<step>: what `save_result` writes into the given folder, optimizer.safetensors,
/// trainer_state.json and, last, MANIFEST.json (size and SHA-256 of each file). The folder appears complete or not at all.
void save(const fs::path& output_dir, const TrainerState& state, const std::vector<io::NamedTensor>& optimizer_state,
          const std::function<void(const fs::path&)>& save_result);

/// The steps of all folders `checkpoint-<step>` in output_dir, valid or not, in ascending order.
std::vector<int64_t> steps(const fs::path& output_dir);
fs::path folder(const fs::path& output_dir, int64_t step);

/// Why the checkpoint cannot be used (a file is missing, or has another size or hash), or "" if all files match the manifest.
std::string fault(const fs::path& checkpoint);

/// The newest checkpoint whose files match its manifest. Warns about each newer damaged one.
std::optional<fs::path> newest_valid(const fs::path& output_dir);

/// Throws model Error if trainer_state.json cannot be read.
TrainerState load_state(const fs::path& checkpoint);

/// Removes the oldest checkpoints so that at most `limit` are left, but never `keep_step` (the best) or the newest.
/// A limit below 1 keeps all of them. Throws output Error if one cannot be removed.
void prune(const fs::path& output_dir, int64_t limit, std::optional<int64_t> keep_step);

}  // namespace lora::checkpoint
