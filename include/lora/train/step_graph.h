#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "lora/nn/batch_room.h"
#include "lora/nn/device_graph.h"
#include "lora/nn/parameter.h"
#include "lora/nn/pass.h"

namespace lora::train {

/// Forward and backward of micro-batches of one shape, recorded once and replayed: training.cuda_graphs.
class StepGraph {
 public:
  /// The sum of the losses of a pass.
  using LossOf = std::function<at::Tensor(const nn::Pass&)>;

  /// `trained` must outlive the graph.
  StepGraph(std::unique_ptr<nn::DeviceGraph> graph, const nn::BatchRoom& room, const std::vector<nn::Parameter>& trained, LossOf loss_of);

  const nn::BatchRoom& room() const { return room_; }
  /// Adds the gradients of `scale` times the loss of a batch that is padded to the room to the existing ones. Returns the loss, a float64
  /// scalar on the device. The first passes are not recorded. Throws config Error for a pass that cannot be recorded.
  at::Tensor add_gradients(const nn::Pass& pass, double scale);

 private:
  void fill(const nn::Pass& pass, double scale);
  void run();
  void prepare();
  void note_reached();
  void hold_gradients();

  std::unique_ptr<nn::DeviceGraph> graph_;
  nn::BatchRoom room_;
  const std::vector<nn::Parameter>& trained_;
  LossOf loss_of_;
  int64_t runs_ = 0;
  // What the recorded work reads and writes.
  nn::Batch batch_;
  at::Tensor row_keys_T_, scale_, loss_;
  nn::Recompute recompute_ = nn::Recompute::kNothing;
  std::vector<at::Tensor> reached_;    ///< the trained tensors that get a gradient from a pass
  std::vector<at::Tensor> gradients_;  ///< their gradients
};

}  // namespace lora::train
