#pragma once
#include <set>
#include <string>
#include <vector>

#include "data/source_plan.h"

namespace lora::data {

/// The result of reading a set's files, which is also what the cache stores.
struct RowSet {
  std::vector<Example> examples;
  RowLabels labels;
  DataReport report;                                  ///< without skipped_origins
  std::vector<Origin> skipped;                        ///< the first ten rows without a supervised token
  std::vector<int64_t> rows_of_files;                 ///< of each planned file; -1 if the limits were reached before it
  std::vector<std::set<std::string>> unused_columns;  ///< of each planned file
  std::vector<std::string> hashes;                    ///< SHA-256 of each file's bytes; empty if it was not read
};

/// Reads the files. Throws what load_dataset throws for rows, and Interrupted.
RowSet read_files(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                  const DataOptions& options, const LoadContext& context);

/// Warns of a file without rows, which is most likely a mistake.
void warn_if_empty(const PlannedFile& file, int64_t num_rows);

}  // namespace lora::data
