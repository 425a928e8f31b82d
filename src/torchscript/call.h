#pragma once
#include <ATen/core/ivalue.h>

#include <exception>
#include <map>
#include <memory>
#include <vector>

#include "hosts.h"
#include "lora/nn/pass.h"

namespace lora::torchscript {

/// What a graph's calls of hosts need of the pass they run in.
class CallContext : public torch::CustomClassHolder {
 public:
  /// @param pass of the batch whose rows the network's inputs are; outlives the context.
  /// @param row_keys int64 [R], keys of the inputs' rows, for dropout; undefined in evaluation.
  /// @param places the rows of the rectangle that are tokens (for observers); undefined: all.
  CallContext(const Hosts& hosts, const nn::Pass& pass, at::Tensor row_keys, int64_t num_samples, at::Tensor places)
      : hosts_(hosts), pass_(pass), row_keys_(std::move(row_keys)), num_samples_(num_samples), places_(std::move(places)) {}

  /// A projection of x [..., I] by the host of that index: [..., O].
  at::Tensor project(int64_t host, const at::Tensor& x);
  /// The rows of a table.
  at::Tensor look_up(int64_t host, const at::Tensor& ids);

  /// What a call threw: the interpreter hands on its text alone.
  std::exception_ptr error;

 private:
  nn::Pass pass_of(int64_t rows);

  const Hosts& hosts_;
  const nn::Pass& pass_;
  at::Tensor row_keys_;
  int64_t num_samples_;
  at::Tensor places_;
  std::map<int64_t, at::Tensor> keys_;  ///< by the number of rows
};

/// Changes the graph so that every site calls its host; its last input is then the CallContext. Gives the slots that are still
/// inputs.
std::vector<Slot> call_hosts(Lowered& lowered, const Hosts& hosts);

}  // namespace lora::torchscript
