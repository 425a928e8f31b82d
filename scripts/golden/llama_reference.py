"""The reference that lora-train must equal: transformers + PEFT + torch's AdamW, with each document run alone at batch size 1.

Shared by llama_golden.py and by the live comparison (tests/peer/peer_compare.py). It does not depend on how a case was
made: a case is a folder with run.json, a lora-train config, and the files that run.json names.
"""

import json
import math
import os
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # every file is local: nothing may be looked up

import torch
import torch.nn.functional as F
import transformers
from adalora import is_adalora, orthogonality_loss
from bitfit import is_bitfit, load_bitfit
from label_metrics import class_metrics, value_metrics
from lora_start import is_started, start_adapter
from peft import PeftModel, get_peft_model_state_dict
from peft.optimizers import create_lorafa_optimizer, create_loraplus_optimizer, lorafa
from prompt_cases import has_virtual_tokens, is_prompt, load_prompt, parameter_name, prompt_tensors
from quantized_base import load_quantized
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, Trainer, get_scheduler

IGNORED = -100


@dataclass
class Document:
    ids: list[int]
    labels: list[int]  # not shifted
    first_is_target: bool = False  # it is predicted by the last of some virtual tokens

    def targets(self) -> list[int]:
        return self.labels if self.first_is_target else self.labels[1:]

    def num_supervised(self) -> int:
        return sum(label != IGNORED for label in self.targets())

    def loss(self, model: torch.nn.Module) -> torch.Tensor:
        """Sum of the cross-entropy over the supervised tokens."""
        targets = torch.tensor(self.targets())
        logits = logits_of(model, self).logits[0, :-1].float()[-len(targets) :]
        return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")


@dataclass
class LabelledDocument:
    ids: list[int]
    types: list[int] | None  # token_type_ids
    label: int | float

    def num_supervised(self) -> int:
        return 1

    def loss(self, model: torch.nn.Module) -> torch.Tensor:
        """transformers' own loss of one document."""
        return logits_of(model, self, labels=torch.tensor([self.label])).loss


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_documents(path: Path) -> list[Document]:
    """Rows of the format `tokens`, where every token is supervised if there are no labels, or of `classification`."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if "label" in rows[0]:
        return [LabelledDocument(row["input_ids"], row.get("token_type_ids"), row["label"]) for row in rows]
    return [Document(row["input_ids"], row.get("labels", row["input_ids"])) for row in rows]


def documents_of(folder: Path, run: dict, part: str) -> list[Document]:
    documents = [document for source in run["data"][part] for document in read_documents(folder / source["path"])]
    if is_classification(run) and isinstance(documents[0].label, str):
        names = label_names(folder, run)
        for document in documents:
            document.label = names.index(document.label)
    for document in documents if has_virtual_tokens(run) and not is_classification(run) else []:
        document.first_is_target = True
    return documents


def is_classification(run: dict) -> bool:
    return run["training"].get("objective") == "sequence_classification"


def label_names(folder: Path, run: dict) -> list[str]:
    """The names of the training rows, sorted."""
    return sorted({document.label for source in run["data"]["train"] for document in read_documents(folder / source["path"])})


def num_labels(folder: Path, run: dict) -> int:
    labels = [document.label for document in documents_of(folder, run, "train")]
    return 1 if any(isinstance(label, float) for label in labels) else max(labels) + 1


def base_of(folder: Path, run: dict, attention: str = "eager", path: Path | None = None) -> torch.nn.Module:
    """The run's base, or the model at `path`, as its objective opens it."""
    path = path or folder / run["model"]["path"]
    if run["model"].get("quantization"):
        return load_quantized(path, run["model"]["quantization"], attention)
    if not is_classification(run):
        return load_base(path, attention)
    return AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=num_labels(folder, run), dtype=torch.float32, attn_implementation=attention).eval()  # fmt: skip


def load_base(folder: Path, attention: str = "eager") -> torch.nn.Module:
    """The frozen model in float32, whatever the checkpoint's dtype."""
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, experts_implementation="eager").eval()  # fmt: skip


def load_trainable(folder: Path, run: dict, attention: str = "eager") -> torch.nn.Module:
    base = base_of(folder, run, attention)
    if run["adapter"] is None:
        patterns = run["training"].get("train_parameters") or [""]
        for name, parameter in base.named_parameters():
            parameter.requires_grad_(any(re.search(pattern, name) for pattern in patterns))
        return base
    if is_started(run):
        return start_adapter(base, run, documents_of(folder, run, "train"))
    if is_bitfit(run["adapter"]):
        return load_bitfit(base, folder / run["adapter"]["init_from"])
    if is_prompt(run):
        return load_prompt(base, folder / run["adapter"]["init_from"])
    model = PeftModel.from_pretrained(base, folder / run["adapter"]["init_from"], is_trainable=True)
    return model.train(base.training)


def parameter_key(name: str) -> str:
    """The name of a parameter in the result's file: PEFT omits the names of the adapter and of its wrapper."""
    name = name.replace(".modules_to_save.default.", ".").replace(".default.", ".").removesuffix(".default")
    return name.removesuffix(".weight") if name.endswith(".lora_magnitude_vector.weight") else name


def trained_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    if isinstance(model, PeftModel):
        tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
        if "prompt_embeddings" in tensors:
            tensors = prompt_tensors(model, tensors)
    else:
        # a tied head is listed once, as the embedding
        tensors = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}


def forget_longer_documents(model: torch.nn.Module) -> None:
    """Resets dynamic RoPE, for which transformers keeps the frequencies of the longest document so far."""
    for module in model.modules():
        if getattr(module, "rope_type", None) == "dynamic":
            module.inv_freq = module.original_inv_freq.clone()
            module.max_seq_len_cached = module.original_max_seq_len


def logits_of(model: torch.nn.Module, document, **kwargs):
    forget_longer_documents(model)
    if isinstance(document, LabelledDocument):
        if document.types is not None:
            kwargs["token_type_ids"] = torch.tensor([document.types])
        return model(input_ids=torch.tensor([document.ids]), attention_mask=torch.ones(1, len(document.ids), dtype=torch.long), **kwargs)
    return model(input_ids=torch.tensor([document.ids]), use_cache=False, **kwargs)


def epoch_steps(documents: list[Document], training: dict) -> list[list[Document]]:
    """The documents of each optimiser step of one epoch, in file order; the last step may be smaller."""
    size, accumulation = training["per_device_train_batch_size"], training["gradient_accumulation_steps"]
    batches = [documents[i : i + size] for i in range(0, len(documents), size)]
    steps = [batches[i : i + accumulation] for i in range(0, len(batches), accumulation)]
    return [[document for batch in step for document in batch] for step in steps]


def make_loraplus_optimizer(model: torch.nn.Module, training: dict) -> torch.optim.Optimizer:
    return create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=training["learning_rate"],
        loraplus_lr_ratio=training["loraplus_lr_ratio"],
        loraplus_weight_decay=training["loraplus_weight_decay"],
        loraplus_lr_embedding=training["loraplus_lr_embedding"],
        eps=training["adam_epsilon"],
        fused=True,
    )


def make_lora_fa_optimizer(model: PeftModel, training: dict) -> torch.optim.Optimizer:
    """PEFT's LoRA-FA in float32 on every processor, with our epsilon and betas."""
    lorafa.is_bf16_available = lambda: False
    config = model.active_peft_config
    optimizer = create_lorafa_optimizer(model, config.r, config.lora_alpha, training["learning_rate"], training["weight_decay"])
    for group in optimizer.param_groups:
        group |= {"eps": training["adam_epsilon"], "betas": (training.get("adam_beta1", 0.9), training.get("adam_beta2", 0.999))}
    return optimizer


def make_optimizer(model: torch.nn.Module, training: dict) -> torch.optim.Optimizer:
    """Weight decay on the parameters that transformers' Trainer decays: no biases, no norms."""
    if "loraplus_lr_ratio" in training:
        return make_loraplus_optimizer(model, training)
    if training.get("optim") == "lora_fa":
        return make_lora_fa_optimizer(model, training)
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in trainable if name in decayed], "weight_decay": training.get("weight_decay", 0.0)},
        {"params": [p for name, p in trainable if name not in decayed], "weight_decay": 0.0},
    ]
    optim = training.get("optim", "adamw_torch_fused")
    if optim not in ("adamw_torch", "adamw_torch_fused"):
        raise ValueError(f"training.optim: found {optim}, expected AdamW, the only optimizer of this reference")
    return torch.optim.AdamW(
        groups,
        lr=training["learning_rate"],
        betas=(training.get("adam_beta1", 0.9), training.get("adam_beta2", 0.999)),
        eps=training.get("adam_epsilon", 1e-8),
        fused=optim == "adamw_torch_fused",
    )


def make_schedule(optimizer: torch.optim.Optimizer, training: dict):
    total, warmup = training["max_steps"], training.get("warmup_steps", 0)
    warmup = int(warmup) if warmup >= 1 else math.ceil(total * warmup)  # TrainingArguments.get_warmup_steps
    kind, kwargs = training.get("lr_scheduler_type", "linear"), training.get("lr_scheduler_kwargs")
    return get_scheduler(kind, optimizer, warmup, total, scheduler_specific_kwargs=kwargs)


def gradients_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    key_of = parameter_name if getattr(model, "_is_prompt_learning", False) else parameter_key
    return {key_of(name): p.grad.detach().clone().contiguous() for name, p in named}


def accumulate(model: torch.nn.Module, documents: list[Document]) -> tuple[float, int]:
    """Backward of one optimiser step: loss summed over its supervised tokens, divided by their number. Returns (loss, number)."""
    count = sum(document.num_supervised() for document in documents)
    loss = 0.0
    for document in documents:
        part = document.loss(model) / count
        part.backward()
        loss += part.item()
    return loss, count


@dataclass
class Training:
    steps: list[dict]  # one object per optimiser step, with the keys of metrics.jsonl
    evals: list[dict]  # {"step", "eval_loss"}, the last one after the last step
    first_gradients: dict[str, torch.Tensor]  # gradients of the first optimiser step, before clipping


def train(model: torch.nn.Module, run: dict, documents: list[Document], held_out: list[Document]) -> Training:
    training = run["training"]
    optimizer = make_optimizer(model, training)
    schedule = make_schedule(optimizer, training)
    parameters = [p for p in model.parameters() if p.requires_grad]
    steps_of_epoch = epoch_steps(documents, training)
    total, eval_steps = training["max_steps"], training.get("eval_steps")
    result = Training([], [], {})
    for step in range(1, total + 1):
        batch = steps_of_epoch[(step - 1) % len(steps_of_epoch)]
        loss, count = accumulate(model, batch)
        if step == 1:
            result.first_gradients = gradients_of(model)
        if is_adalora(run):
            orthogonality = orthogonality_loss(model)
            orthogonality.backward()
            loss += orthogonality.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, training["max_grad_norm"])
        learning_rate = schedule.get_last_lr()[0]
        optimizer.step()
        if is_adalora(run):
            model.base_model.update_and_allocate(step)
        schedule.step()
        optimizer.zero_grad()
        result.steps.append({
            "step": step, "loss": loss, "learning_rate": learning_rate, "grad_norm": norm.item(), "num_tokens": count,
            "num_input_tokens": sum(len(document.ids) for document in batch)})  # fmt: skip
        if step == total or (eval_steps and step % eval_steps == 0):
            result.evals.append({"step": step, "eval_loss": mean_loss(evaluate(model, held_out))} | label_metrics(model, held_out))
    return result


@torch.no_grad()
def evaluate(model: torch.nn.Module, documents: list[Document]) -> list[dict]:
    """{"loss" (mean over its supervised tokens), "num_tokens"} of each document."""
    rows = []
    for document in documents:
        count = document.num_supervised()
        rows.append({"loss": document.loss(model).item() / count, "num_tokens": count})
    return rows


@torch.no_grad()
def label_metrics(model: torch.nn.Module, documents: list) -> dict:
    """The metrics of labels that an evaluation measures in addition to the loss."""
    if not isinstance(documents[0], LabelledDocument):
        return {}
    logits = torch.cat([logits_of(model, document).logits.float() for document in documents])
    labels = [document.label for document in documents]
    found = value_metrics(logits[:, 0].tolist(), labels) if logits.shape[1] == 1 else class_metrics(logits.argmax(1).tolist(), labels)
    return {f"eval_{name}": value for name, value in found.items()}


def mean_loss(rows: list[dict]) -> float:
    return sum(row["loss"] * row["num_tokens"] for row in rows) / sum(row["num_tokens"] for row in rows)


def be_quiet() -> None:
    """Turns off the progress bars and most warnings of transformers and PEFT."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


@contextmanager
def one_thread():
    """Sums in the same order on every machine, whatever its number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
