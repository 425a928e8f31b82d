#pragma once
#include <cstdint>
#include <vector>

#include "lora/data/dataset.h"

namespace lora::data {

/// The images of a set, so that every use in an epoch has noise of its own, which is a function of the example's index: an image (with its
/// other forms) whose weight is w stands there floor(w) times with weight 1, and once with what is left. Copies continue its row.
std::vector<Example> with_copies(std::vector<Example> images);

/// The index after the last form of the row that begins at `first`.
int64_t end_of_forms(const Dataset& dataset, int64_t first);

/// The form that a use of the row has whose forms are [first, end), for a draw from [0, 1): as likely as its share of their weights.
int64_t chosen_form(const Dataset& dataset, int64_t first, int64_t end, double draw);

/// Batches of at most `count` images of one size: each image, in its order, joins the open batch of its size. Full batches come first, in
/// the order in which they were filled.
std::vector<std::vector<int64_t>> join_by_size(const Dataset& dataset, const std::vector<int64_t>& indices, int64_t count);

}  // namespace lora::data
