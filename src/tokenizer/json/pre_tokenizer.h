#pragma once
#include <memory>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/json/pieces.h"

namespace lora::tokenizer {

/// One step that cuts pieces further. No piece is empty.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces `pieces` by their parts; texts that it writes are kept by `arena`.
  virtual void cut(Pieces& pieces, Arena& arena) const = 0;
};

/// The steps of a section "pre_tokenizer".
class PreTokenizers {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) for a damaged one and for an unknown type.
  PreTokenizers(const Json& section, const std::string& where);

  void cut(Pieces& pieces, Arena& arena) const;
  /// Takes the last step off if it spells bytes as ByteLevel does, for a model that reads bytes itself; says whether it was so.
  bool leave_bytes();

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace lora::tokenizer
