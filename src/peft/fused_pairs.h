#pragma once
#include <string>
#include <vector>

#include "lora/peft/update.h"
#include "peft/transformer_names.h"

// Low-rank updates of projections that one code has as one and another as several. B of the one has a block for each part in the rows of
// its outputs, and columns of its own: sd-scripts writes such a file with split_qkv, and diffusers takes it apart again.
namespace lora::peft {

/// The updates of a transformer's modules ("transformer.transformer_blocks.0.attn.to_q") as those of the original modules that they are
/// parts of ("transformer.double_blocks.0.img_attn.qkv"); the others as they are. Parts without an update get zeros. Throws model Error
/// for shapes that no such module has. @param where for messages.
std::vector<LowRankUpdate> with_original_modules(const std::vector<LowRankUpdate>& updates, const std::vector<OriginalModule>& modules,
                                                 const std::string& where);

/// The reverse: the updates of the parts of an original module, each with the columns of B that are not zero in its rows. Parts without
/// any are left out, unless all are zero.
std::vector<LowRankUpdate> with_parts(const LowRankUpdate& update, const std::string& where);

}  // namespace lora::peft
