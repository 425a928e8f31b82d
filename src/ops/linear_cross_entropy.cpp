#include "lora/ops/linear_cross_entropy.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "ops/cpu/launch.h"
#include "ops/cuda_kernels.h"
#include "ops/gemm.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Elements of one chunk's logits: 64 MiB in float32.
constexpr int64_t kLogitChunkElements = int64_t{1} << 24;

int64_t chunk_rows(int64_t vocabulary) {
  return std::max<int64_t>(32, kLogitChunkElements / vocabulary);
}

Tensor logits_of(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V) {
  return bias_V ? at::addmm(*bias_V, h_SD, W_VD.t()) : gemm(h_SD, W_VD.t());
}

/// The dtype of losses: float32, or float64 for float64.
at::ScalarType wide_dtype(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// float32 for the half types; others are unchanged.
Tensor widened(const Tensor& logits) {
  return logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
}

/// Small probabilities of a large vocabulary are subnormal in float16, so its gradients are kept larger by this factor until backward
/// divides by it. Not with a trained head, whose gradient sums over all positions and could overflow.
constexpr double kHalfScale = 1024.0;

/// The losses of C rows of logits, which are replaced by their gradient, (softmax - one_hot) · scale.
Tensor cross_entropy_(const Tensor& logits_CV, const Tensor& labels_C, double scale) {
  const at::ScalarType wide = wide_dtype(logits_CV);
  if (const CudaKernels* kernels = cuda_kernels(logits_CV)) {
    return cross_entropy_cuda_(*kernels, logits_CV, labels_C, scale);
  }
  if (!logits_CV.is_cpu()) {
    const Tensor labels_C1 = labels_C.unsqueeze(1), targets_C1 = labels_C1.clamp_min(0), has_none_C1 = labels_C1.lt(0);
    const Tensor log_probs_CV = at::log_softmax(widened(logits_CV), 1);
    const Tensor loss_C = log_probs_CV.gather(1, targets_C1).masked_fill(has_none_C1, 0).squeeze(1).neg();
    log_probs_CV.exp_().scatter_add_(1, targets_C1, at::full({1, 1}, -1, log_probs_CV.options()).expand_as(targets_C1));
    logits_CV.copy_(log_probs_CV.masked_fill_(has_none_C1, 0).mul_(scale));
    return loss_C;
  }
  const int64_t V = logits_CV.size(1);
  const Tensor loss_C = at::empty({logits_CV.size(0)}, logits_CV.options().dtype(wide));
  const int64_t* labels = labels_C.const_data_ptr<int64_t>();
  cpu::with_element(logits_CV.scalar_type(), [&]<typename S>() {
    cpu::in_parallel(logits_CV.size(0), V, [&](int64_t begin, int64_t end) {
      cpu::cross_entropy(cpu::pointer<S>(logits_CV) + begin * V, labels + begin, cpu::pointer<cpu::Wide<S>>(loss_C) + begin, end - begin, V,
                         scale);
    });
  });
  return loss_C;
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V,
                        const Tensor& labels_S) {
    const bool train_head = W_VD.requires_grad();
    const bool train_bias = bias_V && bias_V->requires_grad();
    const double held_scale = h_SD.scalar_type() == at::kHalf && !train_head && !train_bias ? kHalfScale : 1.0;
    const Tensor dh_SD = at::empty_like(h_SD);
    Tensor dW_VD = train_head ? at::zeros_like(W_VD) : Tensor();
    Tensor db_V = train_bias ? at::zeros_like(*bias_V) : Tensor();
    Tensor total = at::zeros({}, h_SD.options().dtype(wide_dtype(h_SD)));

    const int64_t rows = chunk_rows(W_VD.size(0));
    for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
      const int64_t end = std::min(begin + rows, h_SD.size(0));
      const Tensor h_CD = h_SD.slice(0, begin, end);
      const Tensor dlogits_CV = logits_of(h_CD, W_VD, bias_V);
      total.add_(cross_entropy_(dlogits_CV, labels_S.slice(0, begin, end), held_scale).sum());
      const Tensor dh_CD = dh_SD.slice(0, begin, end);
      gemm_(dh_CD, dlogits_CV, W_VD, 0);
      if (train_head) {
        dW_VD.addmm_(dlogits_CV.t(), h_CD);
      }
      if (train_bias) {
        db_V.add_(dlogits_CV.sum(0));
      }
    }
    ctx->save_for_backward({dh_SD, dW_VD, db_V});
    ctx->saved_data["held_scale"] = held_scale;
    return total;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    variable_list saved = ctx->get_saved_variables();
    for (Tensor& gradient : saved) {
      if (gradient.defined()) {
        // Multiplied in float32: 1 / count, rounded to a half type, would give every gradient the same error. In place, as the head's
        // gradient is as large as the vocabulary.
        gradient = widened(gradient).mul_(grads[0] / ctx->saved_data["held_scale"].toDouble()).to(gradient.scalar_type());
      }
    }
    return {saved[0], saved[1], saved[2], Tensor()};
  }
};

/// The loss of each position, with a head that is not trained: a position's gradient is that of the sum, times its own factor.
struct LinearTokenLosses : Function<LinearTokenLosses> {
  static Tensor forward(AutogradContext* ctx, const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V,
                        const Tensor& labels_S) {
    const double held_scale = h_SD.scalar_type() == at::kHalf ? kHalfScale : 1.0;
    const bool train_hidden = h_SD.requires_grad();  // not in a pass of a reference model
    const Tensor dh_SD = train_hidden ? at::empty_like(h_SD) : Tensor();
    const Tensor loss_S = at::empty({h_SD.size(0)}, h_SD.options().dtype(wide_dtype(h_SD)));
    const int64_t rows = chunk_rows(W_VD.size(0));
    for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
      const int64_t end = std::min(begin + rows, h_SD.size(0));
      const Tensor dlogits_CV = logits_of(h_SD.slice(0, begin, end), W_VD, bias_V);
      loss_S.slice(0, begin, end).copy_(cross_entropy_(dlogits_CV, labels_S.slice(0, begin, end), held_scale));
      if (train_hidden) {
        gemm_(dh_SD.slice(0, begin, end), dlogits_CV, W_VD, 0);
      }
    }
    ctx->save_for_backward({dh_SD});
    ctx->saved_data["held_scale"] = held_scale;
    return loss_S;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor dh_SD = ctx->get_saved_variables()[0];
    const Tensor factor_S1 = (grads[0] / ctx->saved_data["held_scale"].toDouble()).unsqueeze(1);
    return {widened(dh_SD).mul(factor_S1).to(dh_SD.scalar_type()), Tensor(), Tensor(), Tensor()};
  }
};

/// A function from hidden states to logits that a backward pass calls again.
struct OwnedLogits : torch::CustomClassHolder {
  explicit OwnedLogits(LogitsOf logits) : logits(std::move(logits)) {}
  LogitsOf logits;
};

/// Adds the gradients of a chunk: those of the trained tensors, and that of h if it has one.
void add_gradients(const variable_list& of_chunk, variable_list& gradients, int64_t begin, int64_t end) {
  const at::NoGradGuard no_grad;
  for (size_t i = 1; i < gradients.size(); ++i) {
    if (of_chunk[i - 1].defined()) {
      gradients[i].add_(of_chunk[i - 1]);
    }
  }
  if (gradients[0].defined()) {
    gradients[0].slice(0, begin, end).copy_(of_chunk.back());
  }
}

/// The loss of each position, with any head. Gradients depend on the factor of each position, which only backward knows, so that it
/// computes the logits of each chunk again.
struct ChunkedTokenLosses : Function<ChunkedTokenLosses> {
  static Tensor forward(AutogradContext* ctx, const Tensor& h_SD, at::TensorList trained, const Tensor& labels_S, int64_t vocab_size,
                        c10::intrusive_ptr<OwnedLogits> logits) {
    variable_list saved{h_SD, labels_S};
    saved.insert(saved.end(), trained.begin(), trained.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["train_hidden"] = h_SD.requires_grad();
    const int64_t rows = chunk_rows(vocab_size);
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["logits"] = at::IValue::make_capsule(logits);
    std::vector<Tensor> losses{at::empty({0}, h_SD.options().dtype(wide_dtype(h_SD)))};
    for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
      const int64_t end = std::min(begin + rows, h_SD.size(0));
      losses.push_back(losses_of(logits->logits(h_SD.slice(0, begin, end), begin), labels_S.slice(0, begin, end)));
    }
    return at::cat(losses);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &h_SD = saved[0], &labels_S = saved[1];
    const variable_list trained(saved.begin() + 2, saved.end());
    const bool train_hidden = ctx->saved_data["train_hidden"].toBool();
    const auto owned = c10::static_intrusive_pointer_cast<OwnedLogits>(ctx->saved_data["logits"].toCapsule());
    variable_list gradients{train_hidden ? at::empty_like(h_SD) : Tensor()};
    for (const Tensor& tensor : trained) {
      gradients.push_back(at::zeros_like(tensor));
    }
    const int64_t rows = ctx->saved_data["rows"].toInt();
    for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
      const int64_t end = std::min(begin + rows, h_SD.size(0));
      const at::AutoGradMode with_graph(true);
      const Tensor h_CD = h_SD.slice(0, begin, end).detach().requires_grad_(train_hidden);
      const Tensor loss_C = losses_of(owned->logits(h_CD, begin), labels_S.slice(0, begin, end));
      variable_list inputs = trained;
      if (train_hidden) {
        inputs.push_back(h_CD);
      }
      add_gradients(torch::autograd::grad({loss_C}, inputs, {grads[0].slice(0, begin, end)}, /*retain_graph=*/std::nullopt,
                                          /*create_graph=*/false, /*allow_unused=*/true),
                    gradients, begin, end);
    }
    gradients.insert(gradients.end(), 3, Tensor());
    return gradients;
  }

  static Tensor losses_of(const Tensor& logits_CV, const Tensor& labels_C) {
    return at::cross_entropy_loss(widened(logits_CV), labels_C, {}, at::Reduction::None);
  }
};

/// The gradients of h and of the trained tensors come from a separate graph for each chunk.
struct ChunkedCrossEntropy : Function<ChunkedCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, const Tensor& h_SD, at::TensorList trained, const Tensor& labels_S, int64_t vocab_size,
                        const LogitsOf* logits) {
    const bool train_hidden = h_SD.requires_grad();
    variable_list gradients{train_hidden ? at::empty_like(h_SD) : Tensor()};
    for (const Tensor& tensor : trained) {
      gradients.push_back(at::zeros_like(tensor));
    }
    Tensor total = at::zeros({}, h_SD.options().dtype(wide_dtype(h_SD)));
    const int64_t rows = chunk_rows(vocab_size);
    for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
      const int64_t end = std::min(begin + rows, h_SD.size(0));
      const at::AutoGradMode with_graph(true);
      const Tensor h_CD = h_SD.slice(0, begin, end).detach().requires_grad_(train_hidden);
      const Tensor loss = at::cross_entropy_loss(widened((*logits)(h_CD, begin)), labels_S.slice(0, begin, end), {}, at::Reduction::Sum);
      total.add_(loss.detach());
      if (!loss.requires_grad()) {
        continue;  // nothing is trained
      }
      variable_list inputs = trained.vec();
      if (train_hidden) {
        inputs.push_back(h_CD);
      }
      const variable_list parts = torch::autograd::grad({loss}, inputs, /*grad_outputs=*/{}, /*retain_graph=*/std::nullopt,
                                                        /*create_graph=*/false, /*allow_unused=*/true);
      add_gradients(parts, gradients, begin, end);
    }
    ctx->save_for_backward(gradients);
    return total;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    variable_list gradients = ctx->get_saved_variables();
    for (Tensor& gradient : gradients) {
      if (gradient.defined()) {
        gradient = (widened(gradient) * grads[0]).to(gradient.scalar_type());
      }
    }
    gradients.insert(gradients.end(), 3, Tensor());
    return gradients;
  }
};

}  // namespace

namespace {

int64_t size_of(const LossSizes& sizes) {
  return static_cast<int64_t>(c10::elementSize(sizes.dtype));
}

int64_t chunk_elements(const LossSizes& sizes) {
  return std::min(sizes.rows, chunk_rows(sizes.vocab)) * sizes.vocab;
}

/// Bytes per element of the logits, including `wide` tensors in float32.
int64_t with_wide(const LossSizes& sizes, int64_t wide) {
  return wide * 4 + (size_of(sizes) == 4 ? 0 : size_of(sizes));
}

}  // namespace

int64_t linear_cross_entropy_bytes(const LossSizes& sizes, bool head_is_trained) {
  // Backward has a copy of a half-type head's gradient in float32, and then one that is narrow again.
  const int64_t head = !head_is_trained ? 0 : sizes.vocab * sizes.hidden * (size_of(sizes) >= 4 ? size_of(sizes) : 4 + 2 * size_of(sizes));
  return size_of(sizes) * (2 * sizes.rows * sizes.hidden + chunk_elements(sizes)) + head;
}

int64_t chunked_cross_entropy_bytes(const LossSizes& sizes) {
  return size_of(sizes) * 2 * sizes.rows * sizes.hidden + with_wide(sizes, 3) * chunk_elements(sizes);
}

int64_t token_scores_bytes(const LossSizes& sizes) {
  return size_of(sizes) * sizes.rows * sizes.hidden + with_wide(sizes, 2) * chunk_elements(sizes);
}

Tensor linear_cross_entropy(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S) {
  return LinearCrossEntropy::apply(h_SD, W_VD, bias_V, labels_S);
}

Tensor linear_cross_entropy_reference(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S) {
  return at::cross_entropy_loss(widened(at::linear(h_SD, W_VD, bias_V.value_or(Tensor()))), labels_S, {}, at::Reduction::Sum);
}

Tensor chunked_cross_entropy(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const std::vector<Tensor>& trained,
                             const LogitsOf& logits) {
  return ChunkedCrossEntropy::apply(h_SD, at::TensorList(trained), labels_S, vocab_size, &logits);
}

Tensor linear_token_losses(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S) {
  std::vector<Tensor> trained;
  for (const Tensor& tensor : {W_VD, bias_V.value_or(Tensor())}) {
    if (tensor.defined() && tensor.requires_grad()) {
      trained.push_back(tensor);
    }
  }
  if (trained.empty() || !at::GradMode::is_enabled()) {
    return LinearTokenLosses::apply(h_SD, W_VD, bias_V, labels_S);
  }
  const auto logits = [W_VD, bias_V](const Tensor& h_CD, int64_t) { return at::linear(h_CD, W_VD, bias_V.value_or(Tensor())); };
  return chunked_token_losses(h_SD, labels_S, W_VD.size(0), trained, logits);
}

Tensor chunked_token_losses(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const std::vector<Tensor>& trained,
                            const LogitsOf& logits) {
  return ChunkedTokenLosses::apply(h_SD, at::TensorList(trained), labels_S, vocab_size, c10::make_intrusive<OwnedLogits>(logits));
}

TokenScores token_scores(const Tensor& logits_SV, const Tensor& labels_S) {
  const at::NoGradGuard no_grad;
  const Tensor wide_SV = widened(logits_SV);
  return {at::cross_entropy_loss(wide_SV, labels_S, {}, at::Reduction::None).to(at::kFloat), wide_SV.argmax(1).eq(labels_S)};
}

TokenScores chunked_token_scores(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const LogitsOf& logits) {
  const at::NoGradGuard no_grad;
  const int64_t rows = chunk_rows(vocab_size);
  std::vector<Tensor> losses{at::empty({0}, h_SD.options().dtype(at::kFloat))};
  std::vector<Tensor> correct{at::empty({0}, h_SD.options().dtype(at::kBool))};
  for (int64_t begin = 0; begin < h_SD.size(0); begin += rows) {
    const int64_t end = std::min(begin + rows, h_SD.size(0));
    const TokenScores chunk = token_scores(logits(h_SD.slice(0, begin, end), begin), labels_S.slice(0, begin, end));
    losses.push_back(chunk.loss_S);
    correct.push_back(chunk.correct_S);
  }
  return {at::cat(losses), at::cat(correct)};
}

}  // namespace lora::ops
