#include "lora/peft/corda.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "peft/lora_init.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

/// An input of one or several targets.
struct CordaInput {
  std::vector<size_t> members;  ///< indices of hosts; the first represents the input
  Tensor covariance_II;         ///< the sum over documents
};

/// x xᵀ of a document whose largest value is 1.
Tensor covariance_of(const Tensor& rows_TI, bool is_wide, const std::string& module) {
  const Tensor rows = is_wide ? rows_TI.to(at::kFloat) : rows_TI;
  const Tensor scaled_TI = rows / rows.max().abs();
  const Tensor covariance_II = scaled_TI.t().matmul(scaled_TI);
  if (!at::isfinite(covariance_II).all().item<bool>()) {
    model_error(module, "has an input whose covariance is not finite, so \"corda\" cannot start from it");
  }
  return covariance_II;
}

struct Inverse {
  Tensor matrix_II;
  Tensor inverse_II;
};

/// Adds to the diagonal until the matrix can be inverted with PEFT's accuracy.
Inverse inverted(const Tensor& covariance_II, const std::string& module) {
  constexpr int kMostTrials = 60;  // the diagonal then outweighs everything else
  constexpr double kLargestError = 0.05;
  const Tensor one_II = at::eye(covariance_II.size(0), covariance_II.options());
  const Tensor mean = covariance_II.diagonal().mean();
  double damping = 0.01;
  for (int i = 0; i < kMostTrials; ++i, damping *= 2) {
    const Tensor damped_II = covariance_II + at::diag(at::ones({covariance_II.size(0)}, covariance_II.options()) * mean * damping);
    const auto [inverse_II, info] = at::linalg_inv_ex(damped_II);
    if (info.item<int>() == 0 && at::dist(damped_II.matmul(inverse_II), one_II).item<double>() < kLargestError) {
      return {damped_II, inverse_II};
    }
  }
  model_error(module, "has an input whose covariance cannot be inverted, so \"corda\" cannot start from it");
}

}  // namespace

struct CordaPass::Impl : public nn::InputObserver {
  Impl(const LoraOptions& options, nn::Model& model)
      : options(options), model(model), hosts(choose_hosts(options, model, /*warns=*/false).hosts) {
    for (const nn::Linear* host : hosts) {
      require_own_weight(options.init, *host);
      require_rank_of_part(options.init, host->out_features(), host->in_features(), pair_size(options, host->name()).rank, host->name());
    }
  }

  void see(const nn::Linear& host, const Tensor& x_TI) override {
    const auto found = std::find(hosts.begin(), hosts.end(), &host);
    if (found == hosts.end() || x_TI.dim() != 2 || x_TI.size(0) != offsets.back()) {
      return;
    }
    const auto index = static_cast<size_t>(found - hosts.begin());
    if (num_documents == 0 && !is_known(index)) {
      if (!inputs.empty() && last_input.is_same(x_TI)) {
        inputs.back().members.push_back(index);
      } else {
        inputs.push_back({{index}, {}});
      }
      last_input = x_TI;
    }
    for (CordaInput& input : inputs) {
      if (input.members.front() == index) {
        add_to(input, x_TI, host.name());
      }
    }
  }

  void add_to(CordaInput& input, const Tensor& x_TI, const std::string& module) const {
    for (size_t document = 0; document < counted; ++document) {
      const Tensor rows_TI = x_TI.slice(0, offsets[document], offsets[document + 1]);
      const Tensor own_II = covariance_of(rows_TI, !options.corda.use_float16_for_covariance, module);
      input.covariance_II = input.covariance_II.defined() ? input.covariance_II + own_II : own_II;
    }
  }

  bool is_known(size_t index) const {
    return std::any_of(inputs.begin(), inputs.end(), [index](const CordaInput& input) {
      return std::find(input.members.begin(), input.members.end(), index) != input.members.end();
    });
  }

  /// A module of a TorchScript network may have an input without one row per token, or no known input.
  void require_seen() const {
    for (size_t i = 0; i < hosts.size(); ++i) {
      if (!is_known(i)) {
        config_error("adapter.init_lora_weights",
                     "\"corda\" does not support '" + hosts[i]->name() +
                         "', whose input does not have one row per token of a batch. Remove it from the targets, or choose "
                         "another initialization.");
      }
    }
  }

  ModuleStart start_of(const nn::Linear& host, const Tensor& covariance_II) const {
    throw_if_interrupted();  // a decomposition of a large weight takes seconds
    const PairSize size = pair_size(options, host.name());
    const Inverse context = inverted(covariance_II, host.name());
    const Tensor weight_OI = host.weight().to(at::kFloat);
    const auto [U, S, Vh] = at::linalg_svd(weight_OI.matmul(context.matrix_II), /*full_matrices=*/false);
    if (!at::isfinite(S).all().item<bool>()) {
      model_error(host.name() + ".weight", "has a value that is not finite, so it cannot be decomposed");
    }
    const int64_t begin = options.corda.method == CordaMethod::kInstructionPreviewed ? 0 : S.size(0) - size.rank;
    const Tensor root_R = (S.narrow(0, begin, size.rank) / size.scale).sqrt();
    const Tensor A_RI = Vh.matmul(context.inverse_II).narrow(0, begin, size.rank) * root_R.unsqueeze(1);
    return {host.name(), A_RI.contiguous(), (U.narrow(1, begin, size.rank) * root_R).contiguous()};
  }

  LoraOptions options;
  nn::Model& model;
  std::vector<nn::Linear*> hosts;
  std::vector<CordaInput> inputs;
  int64_t num_documents = 0;
  std::vector<int64_t> offsets;  ///< of the current batch's documents
  size_t counted = 0;            ///< how many of them count
  Tensor last_input;
};

CordaPass::CordaPass(const LoraOptions& options, nn::Model& model) : impl_(std::make_unique<Impl>(options, model)) {}
CordaPass::~CordaPass() = default;

void CordaPass::add(const nn::Batch& batch) {
  const at::NoGradGuard no_grad;
  impl_->offsets = batch.layout.host_offsets;
  const int64_t missing = impl_->options.corda.num_documents - impl_->num_documents;
  impl_->counted = static_cast<size_t>(std::min(missing, batch.num_documents()));
  nn::Pass pass = nn::evaluation_pass(batch);
  pass.observer = impl_.get();
  const Tensor hidden_TD = impl_->model.body->hidden(pass);
  if (impl_->model.tokens != nullptr) {
    impl_->model.tokens->observe(hidden_TD, *impl_);  // the head has not been computed
  }
  impl_->last_input = Tensor();
  impl_->require_seen();
  impl_->num_documents += static_cast<int64_t>(impl_->counted);
}

bool CordaPass::is_complete() const {
  return impl_->num_documents >= impl_->options.corda.num_documents;
}

int64_t CordaPass::num_documents() const {
  return impl_->num_documents;
}

std::vector<ModuleStart> CordaPass::starts() const {
  const at::NoGradGuard no_grad;
  std::vector<ModuleStart> starts;
  for (size_t i = 0; i < impl_->hosts.size(); ++i) {
    for (const CordaInput& input : impl_->inputs) {
      if (std::find(input.members.begin(), input.members.end(), i) != input.members.end()) {
        const Tensor mean_II = input.covariance_II / static_cast<double>(impl_->num_documents);
        starts.push_back(impl_->start_of(*impl_->hosts[i], mean_II.to(at::kFloat)));
      }
    }
  }
  return starts;
}

}  // namespace lora::peft
