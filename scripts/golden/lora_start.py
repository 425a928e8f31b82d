"""Adapters as PEFT initialises them where run.json has no init_from: from the base weight (pissa, olora) or from the data
(eva, corda, lora_ga). Random initialisations are not here, as they are compared by their properties.
"""

import dataclasses
import importlib.util
import sys
import types

import torch

if importlib.util.find_spec("attr") is None:  # PEFT's CorDA imports it, although PEFT does not depend on it
    sys.modules["attr"] = types.SimpleNamespace(dataclass=dataclasses.dataclass)

from peft import LoraConfig, PeftModel, get_peft_model, initialize_lora_eva_weights  # noqa: E402
from peft.tuners.lora import LoraGAConfig, LoraLayer  # noqa: E402
from peft.tuners.lora.config import CordaConfig  # noqa: E402
from peft.tuners.lora.corda import preprocess_corda  # noqa: E402
from peft.tuners.lora.loraga import preprocess_loraga  # noqa: E402

IGNORED = -100


def is_started(run: dict) -> bool:
    return run["adapter"] is not None and "init_from" not in run["adapter"]


def padded_batches(documents: list, size: int) -> list[dict]:
    """The batches of a DataLoader: documents in file order, `size` at a time."""
    batches = []
    for begin in range(0, len(documents), size):
        rows = documents[begin : begin + size]
        longest = max(len(row.ids) for row in rows)

        def column(values: list[list[int]], filler: int) -> torch.Tensor:
            return torch.tensor([row + [filler] * (longest - len(row)) for row in values])

        batches.append({
            "input_ids": column([row.ids for row in rows], 0),
            "attention_mask": column([[1] * len(row.ids) for row in rows], 0),
            "labels": column([row.labels for row in rows], IGNORED)})  # fmt: skip
    return batches


@torch.no_grad()
def run_alone(base: torch.nn.Module, documents: list) -> None:
    for document in documents:
        base(torch.tensor([document.ids]))


def add_gradients(base: torch.nn.Module, batches: list[dict]) -> None:
    for batch in batches:
        base(**batch).loss.backward()


def start_adapter(base: torch.nn.Module, run: dict, documents: list) -> PeftModel:
    """get_peft_model as users call it; EVA and LoRA-GA process the micro-batches of the first epoch, CorDA its documents one by one."""
    options = {key: value for key, value in run["adapter"].items() if key != "peft_type"}
    init, size = options["init_lora_weights"], run["training"]["per_device_train_batch_size"]
    if init == "corda":
        corda = dict(options["corda_config"])
        used = documents[: corda.pop("num_documents")]
        config = LoraConfig(task_type="CAUSAL_LM", **options | {"corda_config": CordaConfig(**corda)})
        preprocess_corda(base, config, run_model=lambda: run_alone(base, used))
        return get_peft_model(base, config)
    if init == "lora_ga":
        lora_ga = dict(options["lora_ga_config"])
        batches = padded_batches(documents, size)[: lora_ga.pop("num_batches")]
        config = LoraConfig(task_type="CAUSAL_LM", **options | {"lora_ga_config": LoraGAConfig(**lora_ga)})
        preprocess_loraga(base, config, lambda: add_gradients(base, batches))
        return get_peft_model(base, config)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
    if options["init_lora_weights"] == "eva":
        batches = padded_batches(documents, run["training"]["per_device_train_batch_size"])
        initialize_lora_eva_weights(model, batches, show_progress_bar=False)
    return model


@torch.no_grad()
def effective_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    """W + scale · B A of each adapted module: it does not depend on the signs of singular vectors."""
    prefix = "base_model.model."
    return {
        f"{name.removeprefix(prefix)}.weight": module.get_base_layer().weight + module.get_delta_weight("default")
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


@torch.no_grad()
def take_signs(model: PeftModel, files_tensors: dict[str, torch.Tensor]) -> float:
    """Gives the start of LoRA-GA the signs of singular vectors that a file of lora-train has, which are random in both: in the file's
    tensors the initial values follow the trained ones. Returns the largest difference of the starts apart from signs."""
    largest = 0.0
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        pair = {"lora_A": module.lora_A["default"].weight, "lora_B": module.lora_B["default"].weight}
        scale = module.scaling["default"]
        weight = module.get_base_layer().weight
        weight.add_(scale * pair["lora_B"] @ pair["lora_A"])
        for part, dim in (("lora_A", 0), ("lora_B", 1)):
            start = files_tensors[f"{name}.{part}.weight"].chunk(2, dim)[1]
            signs = (start * pair[part]).sum(1 - dim, keepdim=True).sign()
            largest = max(largest, (signs * pair[part] - start).abs().max().item())
            pair[part].mul_(signs)
        pair["lora_B"].neg_()  # the file has -B
        weight.sub_(scale * pair["lora_B"] @ pair["lora_A"])
    return largest
