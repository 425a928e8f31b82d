#include "app/merge_single_file.h"

#include <ATen/ATen.h>

#include <map>
#include <string>

#include "app/merge_base.h"
#include "app/pipeline_merge.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/result_file.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/io/safetensors.h"
#include "lora/io/tensor_facts.h"
#include "lora/models/base_model.h"

namespace lora::app {

namespace {

using at::Tensor;

/// A tensor of the result and where it is in the file.
struct PlacedTensor {
  const peft::MergedTensor* tensor = nullptr;
  diffusion::TensorView view;
};

class MergedFile {
 public:
  explicit MergedFile(const PipelineMerge& merge)
      : merge_(merge),
        file_(merge.model.path),
        stored_(fs::absolute(file_).parent_path(), io::WeightFileNames{file_.filename().string(), ""}) {
    std::map<std::string, const peft::MergedTensor*> changed;
    for (const peft::MergedTensor& tensor : merge.plan.tensors) {
      if (tensor.is_changed()) {
        changed.emplace(tensor.source, &tensor);
      }
    }
    for (const std::string& component : merge.changed_components()) {
      for (const diffusion::TensorView& view : merge.pipeline.views(component)) {
        if (const auto found = changed.find(component + "." + view.name); found != changed.end()) {
          changes_[view.stored].push_back({found->second, view});
        }
      }
    }
  }

  void write(const fs::path& output) const {
    std::vector<io::TensorStream> streams;
    for (const std::string& name : stored_.names()) {
      const io::TensorFacts facts = stored_.facts(name);
      const at::ScalarType dtype =
          io::is_plain_float(facts.dtype) ? models::scalar_type(merge_.model.dtype).value_or(facts.dtype) : facts.dtype;
      streams.push_back({name, dtype, facts.shape, [this, name, dtype](const auto& append) {
                           append(merged(name, dtype));
                           stored_.release(name);
                         }});
    }
    std::map<std::string, std::string> metadata = io::SafetensorsFile(file_).metadata();
    metadata.erase("modelspec.hash_sha256");  // of the tensors that were there before
    io::write_checkpoint_file(output, streams, metadata);
  }

 private:
  Tensor merged(const std::string& name, at::ScalarType dtype) const {
    const Tensor stored = stored_.tensor(name);
    const auto changes = changes_.find(name);
    if (changes == changes_.end()) {
      return stored.to(dtype);
    }
    Tensor result = stored.to(dtype, /*non_blocking=*/false, /*copy=*/true);
    for (const PlacedTensor& change : changes->second) {
      place(values_of(*change.tensor, dtype), change.view, result);
    }
    return result;
  }

  Tensor values_of(const peft::MergedTensor& tensor, at::ScalarType dtype) const {
    std::vector<Tensor> pieces;
    append_merged(tensor, dtype, merge_.weights.tensor(tensor.source), [&pieces](const Tensor& piece) { pieces.push_back(piece); },
                  [] {});
    return at::cat(pieces);
  }

  static void place(const Tensor& values, const diffusion::TensorView& view, Tensor& stored) {
    switch (view.kind) {
      case diffusion::ViewKind::kTransposed:
        stored.copy_(values.t());
        break;
      case diffusion::ViewKind::kRows:
        stored.narrow(0, view.begin_row, view.num_rows).copy_(values);
        break;
      case diffusion::ViewKind::kWhole:
      case diffusion::ViewKind::kMatrix:
        stored.copy_(values.view(stored.sizes()));
        break;
    }
  }

  const PipelineMerge& merge_;
  const fs::path file_;
  const io::SafetensorsCheckpoint stored_;
  std::map<std::string, std::vector<PlacedTensor>> changes_;  ///< by the name in the file
};

/// The path to write. Throws output Error for one that exists, is an input or a folder.
fs::path checked_output(const MergeRequest& request, const models::ModelOptions& model) {
  if (fs::is_directory(request.output)) {
    output_error(request.output.string(), "is a folder, expected the name of a file, because --model is a single file");
  }
  if (fs::exists(request.output) && !request.overwrite) {
    output_error(request.output.string(), "already exists. Choose another --output, or replace it with --overwrite.");
  }
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  return ResultFile(request.output, inputs).whole_file();
}

}  // namespace

void merge_single_file(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  if (request.max_shard_size != MergeRequest{}.max_shard_size) {
    config_error("--max-shard-size", "cannot be used with a single file as --model: the result is one file too");
  }
  const fs::path output = checked_output(request, model);
  const PipelineMerge merge(request, model, adapters);
  MergedFile(merge).write(output);
  log::end_progress();
  log::info("wrote " + request.output.string() + ": " + merge.summary());
}

}  // namespace lora::app
