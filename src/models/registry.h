#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/models/checkpoint_layout.h"
#include "lora/models/family_files.h"
#include "models/families.h"

namespace lora::models {

/// The checkpoint under the names of its family's model.
io::RenamedSource renamed_source(io::Checkpoint& checkpoint, const CheckpointLayout& layout);

/// A family: everything that is known of it outside its own file. Lists are separated by spaces.
struct Family {
  const char* model_type;  ///< in config.json
  BuildFamily* build;
  FamilyFiles files = {};
  BuildSequenceHead* build_head = make_score_head;  ///< the head that scores documents

  // Tensors that its files may hold although its model does not need them, by how the model's name of them begins or ends.
  const char* other_heads = "lm_head.";             ///< begin: heads that the model has not, or has twice, and modules that only they need
  const char* old_buffers = "rotary_emb.inv_freq";  ///< end: what older versions of transformers stored and now compute

  /// Keys of config.json that transformers does not compute with (any more), or only in heads and losses that are not supported here.
  const char* idle_keys = "";

  /// Whether a tensor, by the model's name, is one that the model does not need.
  bool may_ignore(const std::string& name) const;
};

/// The labels of the checkpoint's head that scores documents, if it has one.
std::optional<int64_t> stored_labels(const io::Checkpoint& checkpoint, const CheckpointLayout& layout);

/// The family of a `model_type`. Throws model Error that lists the known ones and suggests the nearest.
const Family& find_family(const std::string& model_type, const std::string& where);

}  // namespace lora::models
