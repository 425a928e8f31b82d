#pragma once
#include <memory>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/json/pieces.h"

namespace lora::tokenizer {

/// One step that splits pieces further. No piece is empty.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces `pieces` by their parts; `arena` owns new texts.
  virtual void cut(Pieces& pieces, Arena& arena) const = 0;
};

/// The steps of a section "pre_tokenizer".
class PreTokenizers {
 public:
  /// `section` may be null. Throws model Error naming `where` (the section) if it is damaged or has an unknown type.
  PreTokenizers(const Json& section, const std::string& where);

  void cut(Pieces& pieces, Arena& arena) const;
  /// Removes the last step if it only spells bytes (ByteLevel), for a model that reads bytes itself. Returns whether it did.
  bool leave_bytes();

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
  bool ends_in_bytes_ = false;
};

}  // namespace lora::tokenizer
