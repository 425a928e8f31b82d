#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lora::io {

/// In which order llama.cpp keeps the rows of a weight.
enum class GgufRows {
  kSame,
  kPairs,     ///< of each query head the pairs that rotate together side by side, instead of two halves
  kKeyPairs,  ///< the same for key heads
  kFused,     ///< all queries, all keys, all values, instead of the queries, key and value of each group of heads
};

/// One kind of module, with transformers' name and ggml's. {} stands for the number of the layer, {e} for the index of a part: ggml
/// stacks these parts in one tensor.
struct GgufModule {
  std::string_view transformers;
  std::string_view ggml;
  GgufRows rows = GgufRows::kSame;
  bool is_projection = false;  ///< its weight may stay packed
};

/// An architecture of GGUF in terms of a family of transformers.
struct GgufArchitecture {
  const char* name;        ///< general.architecture
  const char* model_type;  ///< in config.json
  std::span<const GgufModule> modules;
  bool stores_norms_plus_one = false;
  bool inputs_first = false;  ///< transformers stores the weights of projections [in, out] (Conv1D)
};

/// All architectures, one entry for each family that is read from or written to them.
std::span<const GgufArchitecture> gguf_architectures();
/// The family in which files of this architecture are read; null if it is not known.
const GgufArchitecture* find_gguf_architecture(std::string_view name);
/// The architecture in which a family of transformers is written; null if there is none.
const GgufArchitecture* gguf_architecture_of(std::string_view model_type);

/// A module's kind, its layer and its name on the other side; no kind if it is not known.
struct GgufName {
  const GgufModule* kind = nullptr;
  std::string layer;  ///< empty: not in a layer
  std::string name;
};
/// @param module "blk.3.attn_q".
GgufName from_ggml_name(const GgufArchitecture& architecture, const std::string& module);
/// @param module "model.layers.3.self_attn.q_proj". Parts of stacked tensors have no name of their own.
GgufName to_ggml_name(const GgufArchitecture& architecture, const std::string& module);

struct GgufHeads {
  int64_t heads = 0;
  int64_t key_heads = 0;
};
/// For each of `count` rows as transformers orders them, its row in the GGUF; empty for kSame. Throws model Error naming `where` if the
/// rows cannot be divided among the heads.
std::vector<int64_t> gguf_rows(GgufRows rows, const GgufHeads& heads, int64_t count, const std::string& where);

}  // namespace lora::io
