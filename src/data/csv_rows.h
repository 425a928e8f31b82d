#pragma once
#include "data/row_input.h"

namespace lora::data {

/// Rows of a .csv file, whose first record names the columns.
void find_csv_rows(RowInput& input, const PendingRowSink& sink);

}  // namespace lora::data
