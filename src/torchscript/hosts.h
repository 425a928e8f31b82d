#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "torchscript/lowering.h"
#include "torchscript/sites.h"

namespace lora::torchscript {

/// A weight that another operation than linear uses. It is adapted in weight space, W + scale · B A, wherever it is used. Dropout on the
/// adapter's input and a bias of lora_B cannot be expressed.
class HiddenLinear : public nn::Linear {
 public:
  HiddenLinear(const std::string& name, const nn::LinearShape& shape, io::WeightSource& source, const at::TensorOptions& options,
               std::string operations)
      : Linear(name, shape, source, options), operations_(std::move(operations)) {}

  const char* kind() const override { return "Linear in weight space"; }
  /// The operations that use the weight.
  const std::string& operations() const { return operations_; }

 protected:
  void add(std::unique_ptr<nn::Attachment> attachment) override;

 private:
  std::string operations_;
};

/// A module to which no pair can be attached (norms, convolutions with groups, tables that are added). Its tensors can be trained whole.
class OtherModule : public nn::Host {
 public:
  explicit OtherModule(std::string name) : Host(std::move(name)) {}
  const char* kind() const override { return kind_; }
  nn::BaseWeight& add(const std::string& part, const at::Tensor& tensor) { return add_weight(part, tensor, tensor.dim() > 1); }
  /// Notes that the weight is the kernel of a convolution.
  void set_convolution() { kind_ = "convolution that is grouped, transposed or padded by a word, which does not support adapters"; }

 private:
  const char* kind_ = "module without a linear operation or table";
};

/// Replaces a host that cannot be trained in the list of hosts.
class Unreached : public nn::Host {
 public:
  explicit Unreached(const nn::Host& host)
      : Host(host.name()), kind_(std::string(host.kind()) + " that gets no gradient (torch.no_grad or detach in forward)") {}
  const char* kind() const override { return kind_.c_str(); }
  bool can_be_saved() const override { return false; }

 private:
  std::string kind_;
};

/// How the graph gets a slot's tensor while adapters are attached.
struct SlotPlan {
  int64_t linear = -1;                     ///< the host that computes its linear or addmm sites; -1: none
  int64_t table = -1;                      ///< the host that computes its embedding sites
  int64_t convolution = -1;                ///< the host that computes its convolutions
  const nn::BaseWeight* weight = nullptr;  ///< replaces the slot's tensor in the graph; null: the slot's own tensor
  const HiddenLinear* hidden = nullptr;    ///< or: its effective weight replaces it
};

/// A lookup of a table by an argument's values.
struct Lookup {
  const nn::Host* table = nullptr;  ///< null: its host is not a table
  int64_t num_rows = 0;
  size_t argument = 0;
};

/// The hosts for adapters in a lowered network.
struct Hosts {
  std::vector<std::unique_ptr<nn::Host>> all;                       ///< in the order of their first site in the graph
  std::map<std::string, SlotPlan> plans;                            ///< by the slot's name
  std::map<std::string, std::string> slot_names;                    ///< the slot of a host's weight or bias, by its name at the host
  std::map<const nn::Host*, std::unique_ptr<Unreached>> unreached;  ///< replacements of hosts that cannot be trained
  nn::Linear* head = nullptr;                                       ///< the host whose output is the network's; null: not known
  std::vector<Lookup> lookups;
  std::set<int64_t> documents_second;  ///< calls whose tensors are [places, documents, ..., C], as found while loading
};

/// The weight with the pairs in use added, in the slot's layout and dtype.
at::Tensor effective_weight(const nn::MatrixHost& host);

/// Creates a host for every slot that forward() reads. The head is the one whose output is `output` (see take_output).
Hosts make_hosts(const Lowered& lowered, const torch::jit::Module& module, const std::string& output);

}  // namespace lora::torchscript
