#pragma once
#include <ATen/core/ivalue.h>

#include <exception>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "torchscript/convolution_host.h"
#include "torchscript/network.h"
#include "torchscript/row_keys.h"

namespace lora::torchscript {

/// What the calls of hosts in a graph need to know about the pass in which they run.
class CallContext : public torch::CustomClassHolder {
 public:
  /// @param pass the pass over the batch that the network's inputs hold; outlives the context.
  /// @param rows the rows of its rectangle: keys for dropout, and which rows are tokens (for observers; undefined: all).
  CallContext(const Hosts& hosts, const nn::Pass& pass, PassRows rows)
      : hosts_(hosts), pass_(pass), rows_(std::move(rows)), keys_(rows_.keys, rows_.num_samples, rows_.length) {}

  /// Projects x [..., I] to [..., O] with the host of that index, and adds `bias`, one that is not the host's own, if given.
  at::Tensor project(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias);
  /// Convolves x [N, I, places...] with the host of that index, and adds `bias`, one that is not the host's own, if given.
  at::Tensor convolve(int64_t host, const at::Tensor& x, const std::optional<at::Tensor>& bias, const KernelMoves& moves);
  /// Looks up rows of a table.
  at::Tensor look_up(int64_t host, const at::Tensor& ids);
  /// The base model's own dropout of that number, in a training pass.
  at::Tensor dropout(int64_t site, const at::Tensor& x, double p);

  /// The exception that a call threw, because the interpreter only passes on its text.
  std::exception_ptr error;

 private:
  at::Tensor keys_of(int64_t call, const at::Tensor& x);
  nn::Pass pass_of(int64_t call, const at::Tensor& x);
  void show(const nn::Linear& linear, const at::Tensor& x, bool documents_second);

  const Hosts& hosts_;
  const nn::Pass& pass_;
  PassRows rows_;
  RowKeys keys_;
  std::map<int64_t, int64_t> calls_;  ///< calls of each dropout so far
  at::Tensor shown_;                  ///< the last input that the observer was shown
  at::Tensor shown_tokens_;           ///< its rows that are tokens
};

/// Changes the graph so that every site calls its host, and in training mode every dropout draws by the rows' keys. The graph gets a last
/// input, the CallContext. Returns the slots that are still inputs.
std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts, bool training);

}  // namespace lora::torchscript
