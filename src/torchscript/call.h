#pragma once
#include <ATen/core/ivalue.h>

#include <exception>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "network.h"
#include "row_keys.h"

namespace lora::torchscript {

/// What a graph's calls of hosts need of the pass they run in.
class CallContext : public torch::CustomClassHolder {
 public:
  /// @param pass of the batch whose rows the network's inputs are; outlives the context.
  /// @param rows of its rectangle: keys for dropout, and which of them are tokens (for observers; undefined: all).
  CallContext(const Hosts& hosts, const nn::Pass& pass, Rows rows)
      : hosts_(hosts), pass_(pass), rows_(std::move(rows)), keys_(rows_.keys, rows_.num_samples, rows_.length) {}

  /// A projection of x [..., I] by the host of that index: [..., O], with a bias that is not the host's own where one is given.
  at::Tensor project(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias);
  /// The rows of a table.
  at::Tensor look_up(int64_t host, const at::Tensor& ids);
  /// The base's own dropout of that number, in a training pass.
  at::Tensor dropout(int64_t site, const at::Tensor& x, double p);

  /// What a call threw: the interpreter hands on its text alone.
  std::exception_ptr error;

 private:
  at::Tensor keys_of(int64_t call, const at::Tensor& x);
  nn::Pass pass_of(int64_t call, const at::Tensor& x);
  void show(const nn::Linear& linear, const at::Tensor& x, bool documents_second);

  const Hosts& hosts_;
  const nn::Pass& pass_;
  Rows rows_;
  RowKeys keys_;
  std::map<int64_t, int64_t> calls_;  ///< of each dropout so far
  at::Tensor shown_;                  ///< the last input that an observer was shown
  at::Tensor shown_tokens_;           ///< its rows that are tokens
};

/// Changes the graph so that every site calls its host, and in training form every dropout draws by the rows' keys; its last input is
/// then the CallContext. Gives the slots that are still inputs.
std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts, bool training);

}  // namespace lora::torchscript
