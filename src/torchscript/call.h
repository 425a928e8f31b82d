#pragma once
#include <ATen/core/ivalue.h>

#include <exception>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "network.h"

namespace lora::torchscript {

/// What a graph's calls of hosts need of the pass they run in.
class CallContext : public torch::CustomClassHolder {
 public:
  /// @param pass of the batch whose rows the network's inputs are; outlives the context.
  /// @param rows of its rectangle: keys for dropout, and which of them are tokens (for observers; undefined: all).
  CallContext(const Hosts& hosts, const nn::Pass& pass, Rows rows) : hosts_(hosts), pass_(pass), rows_(std::move(rows)) {}

  /// A projection of x [..., I] by the host of that index: [..., O], with a bias that is not the host's own where one is given.
  at::Tensor project(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias);
  /// The rows of a table.
  at::Tensor look_up(int64_t host, const at::Tensor& ids);

  /// What a call threw: the interpreter hands on its text alone.
  std::exception_ptr error;

 private:
  /// Whether the rows of x [..., I] are the rectangle's, and whether they stand position by position.
  bool has_a_row_a_token(const at::Tensor& x) const;
  bool is_length_first(const at::Tensor& x) const;
  nn::Pass pass_of(const at::Tensor& x);
  at::Tensor keys_by_sample(int64_t num_rows) const;
  void show(const nn::Linear& linear, const at::Tensor& x);

  const Hosts& hosts_;
  const nn::Pass& pass_;
  Rows rows_;
  std::map<std::pair<int64_t, bool>, at::Tensor> keys_;  ///< by the number of rows and their order
  at::Tensor shown_;                                     ///< the last input that an observer was shown
  at::Tensor shown_tokens_;                              ///< its rows that are tokens
};

/// Changes the graph so that every site calls its host; its last input is then the CallContext. Gives the slots that are still
/// inputs.
std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts);

}  // namespace lora::torchscript
