#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/row_model.h"
#include "torchscript/network_model.h"

namespace lora::torchscript {

/// A TorchScript network that takes whole rows. R rows, K outputs.
class ScriptRowModel : public NetworkModel, public nn::RowModel {
 public:
  /// @param output the value of model.output.
  ScriptRowModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, RowKind rows, std::string output,
                 bool gives_loss);

  at::Tensor predict(const nn::Pass& pass) const override;
  int64_t num_outputs() const override { return num_outputs_; }
  at::Tensor loss(const nn::Pass& pass) const override;
  nn::LossMean loss_mean() const override { return loss_mean_; }

  /// Its result, as result() gives it.
  at::Tensor hidden(const nn::Pass& pass) const override { return result(pass); }
  /// The rows of its table of ids; without one there is no limit.
  int64_t vocab_size() const override;
  int64_t hidden_size() const override { return num_outputs_; }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

  bool gives_loss() const { return gives_loss_; }
  /// Its predictions [R, K], or its loss.
  at::Tensor result(const nn::Pass& pass) const;
  /// The same from a result of the network for R rows. Throws model Error for another shape.
  at::Tensor result_of(const c10::IValue& value, int64_t rows) const;
  /// Sets the number of elements that its linear operations read and write per token, or per row of features.
  void set_elements_of_place(int64_t count) { elements_of_place_ = count; }
  void set_num_outputs(int64_t count) { num_outputs_ = count; }
  void set_loss_mean(nn::LossMean mean) { loss_mean_ = mean; }

 private:
  bool gives_loss_;
  int64_t num_outputs_ = 0, elements_of_place_ = 0;
  nn::LossMean loss_mean_ = nn::LossMean::kRows;
};

}  // namespace lora::torchscript
