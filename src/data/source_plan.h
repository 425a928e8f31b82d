#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lora/base/input_file.h"
#include "lora/data/dataset.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A file to read.
struct PlannedFile {
  std::string path;
  const FileKind* kind;
  size_t source;                            ///< index of the source that names it
  std::shared_ptr<const std::string> name;  ///< in messages

  /// Standard input and pipes can be read only once.
  bool is_read_once() const { return path == "-" || is_pipe(path); }
};

/// The files of all sources, in order. `name` ("data.train") names the set in errors. Throws config Error for a source that
/// cannot be read in its format, data Error if there is no file; warns if EOS is requested and the tokenizer has none.
std::vector<PlannedFile> plan_files(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                                    const LoadContext& context);

/// Optional columns that the config names explicitly: if no row has one of them, that is a mistake.
std::set<std::string> renamed_optional_columns(const SourceOptions& source);

}  // namespace lora::data
