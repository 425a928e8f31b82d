#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lora/base/input_file.h"
#include "lora/data/dataset.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A file that is to be read.
struct PlannedFile {
  std::string path;
  FileKind kind;
  size_t source;                            ///< which of the sources names it
  std::shared_ptr<const std::string> name;  ///< in messages

  /// Standard input and pipes can be read once.
  bool is_read_once() const { return path == "-" || is_pipe(path); }
};

/// The files of all sources, in order. `name` ("data.train") names the set in errors. Throws config Error for a source that
/// cannot be read as what it says it is, data Error where there is no file; warns where EOS is wanted and there is none.
std::vector<PlannedFile> plan_files(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                                    const LoadContext& context);

/// Columns that a row may lack, but that were named on purpose: one that no row has is a mistake.
std::set<std::string> renamed_optional_columns(const SourceOptions& source);

}  // namespace lora::data
