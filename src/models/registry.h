#pragma once
#include <optional>
#include <string>
#include <vector>

#include "models/families.h"
#include "lora/models/checkpoint_layout.h"
#include "lora/models/family_files.h"

namespace lora::models {

/// The checkpoint under the names of its family's model.
io::RenamedSource renamed_source(io::CheckpointSource& checkpoint, const CheckpointLayout& layout);

/// Tensors that a family's files may hold although its model does not need them: names by how they begin or end, separated by spaces.
struct UnneededTensors {
  const char* heads = "lm_head.";              ///< begin: heads that the model has not, or has twice, and modules that only they need
  const char* buffers = "rotary_emb.inv_freq";  ///< end: what older versions of transformers stored and now compute
};

/// A family: everything that is known of it outside its own file.
struct Family {
  const char* model_type;  ///< in config.json
  BuildFamily* build;
  FamilyFiles files = {};
  BuildSequenceHead* build_head = make_score_head;  ///< the head that scores documents
  UnneededTensors unneeded = {};

  /// Whether a tensor, by the model's name, is one of those.
  bool may_ignore(const std::string& name) const;
};

/// The labels of the checkpoint's head that scores documents, if it has one.
std::optional<int64_t> stored_labels(const io::CheckpointSource& checkpoint, const CheckpointLayout& layout);

/// The family of a `model_type`. Throws model Error that lists the known ones and suggests the nearest.
const Family& find_family(const std::string& model_type, const std::string& where);

}  // namespace lora::models
