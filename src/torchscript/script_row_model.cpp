#include "torchscript/script_row_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "torchscript/row_groups.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

}  // namespace

ScriptRowModel::ScriptRowModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, RowKind rows, std::string output,
                               bool gives_loss)
    : NetworkModel(std::move(network), inputs, rows, std::move(output)), gives_loss_(gives_loss) {}

Tensor ScriptRowModel::predict(const nn::Pass& pass) const {
  return result(pass);
}

Tensor ScriptRowModel::loss(const nn::Pass& pass) const {
  return result(pass);
}

int64_t ScriptRowModel::vocab_size() const {
  const int64_t rows = num_ids();
  return rows > 0 ? rows : std::numeric_limits<int32_t>::max();
}

nn::PassMemory ScriptRowModel::pass_memory(nn::Recompute) const {
  // What is between them is not known: count the same again.
  const int64_t bytes = 2 * elements_of_place_ * static_cast<int64_t>(c10::elementSize(dtype()));
  return {.kept = bytes, .forward = bytes};
}

Tensor ScriptRowModel::result(const nn::Pass& pass) const {
  begin(pass);
  if (!keeps_lengths_apart()) {
    return result_of(run(pass, make_rectangle(pass.batch())), pass.layout().num_documents());
  }
  std::vector<Tensor> results;
  std::vector<int64_t> order;
  for (const DocumentGroup& group : groups_by_length(pass.batch())) {
    const Tensor found = result_of(run(group.pass(pass), make_rectangle(group.batch)), group.batch.num_documents());
    results.push_back(gives_loss_ ? found * nn::loss_count(loss_mean_, group.batch) : found);
    order.insert(order.end(), group.documents.begin(), group.documents.end());
  }
  if (gives_loss_) {
    return at::stack(results).sum() / nn::loss_count(loss_mean_, pass.batch());
  }
  return at::cat(results).index_select(0, at::tensor(order, at::kLong).argsort().to(device()));
}

Tensor ScriptRowModel::result_of(const c10::IValue& value, int64_t rows) const {
  const Tensor found = take_output(value, output(), network().where());
  if (gives_loss_) {
    if (found.numel() != 1) {
      model_error(network().where(), "returns no loss: found a tensor " + io::shape_text(found.sizes()) +
                                         ", expected one number, the mean over the " + std::to_string(rows) +
                                         " rows. Set model.output to the right one.");
    }
    return found.reshape({}).to(at::kFloat);
  }
  if (found.dim() < 1 || found.dim() > 2 || found.size(0) != rows || found.numel() == 0) {
    model_error(network().where(), "returns no prediction for each row: found a tensor " + io::shape_text(found.sizes()) + " for " +
                                       std::to_string(rows) +
                                       " rows, expected [rows] or [rows, outputs]. Set model.output to the right one.");
  }
  return found.dim() == 1 ? found.unsqueeze(1) : found;
}

}  // namespace lora::torchscript
