"""The rows, adapters, gradients and trainings of tests/data/diffusion, with diffusers' models, PEFT's LoRA and torch's AdamW."""

import json

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusion_models import DIFFUSION, FAMILIES, SCHEDULERS, UNETS
from peft import LoraConfig, PeftModel, get_peft_model
from quantized import save
from safetensors.torch import load_file
from small_adapters import write_json

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
ADAPTERS = {
    "attention": {"r": 3, "lora_alpha": 6, "target_modules": ATTENTION},
    "conv": {
        "r": 2, "lora_alpha": 3, "use_dora": True, "use_rslora": True,
        "target_modules": r"conv_in|conv_out|(down_blocks\.1|mid_block|up_blocks\.1)\..*"
        r"(conv1|conv2|conv_shortcut|time_emb_proj|samplers\.0\.conv|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2)",
    },
}  # fmt: skip
ROWS = 10
TRAINING = {
    "objective": "denoising", "max_steps": 20, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 0.005,
    "lr_scheduler_type": "linear", "warmup_steps": 2, "weight_decay": 0.01, "optim": "adamw_torch", "adam_epsilon": 1e-06,
    "max_grad_norm": 0.045, "logging_steps": 1,
}  # fmt: skip


def write_rows(family: str) -> None:
    """Rows of two sizes, two of each in turn: batches of 2 have one size."""
    folder = DIFFUSION / family / "rows"
    generator = torch.Generator().manual_seed(900 + FAMILIES.index(family))
    names = []
    for place in range(ROWS):
        size = (4, 6, 9) if place % 4 == 2 or place % 4 == 3 else (4, 8, 8)
        row = {name: torch.randn(size, generator=generator) for name in ("latents", "noise")}
        row["timestep"] = torch.randint(0, 1000, (1,), generator=generator)
        row["encoder_hidden_states"] = torch.randn((77, UNETS[family]["cross_attention_dim"]), generator=generator)
        if family == "sdxl":
            row["pooled"] = torch.randn(16, generator=generator)
            row["time_ids"] = torch.tensor([64.0 + place, 80, 0, place, 64, 64])
        save(row, folder / f"{place}.safetensors")
        names.append(json.dumps({"file_name": f"{place}.safetensors"}))
    (folder / "rows.jsonl").write_text("\n".join(names) + "\n", encoding="utf-8")


def load_unet(family: str, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(DIFFUSION / family / "model" / "unet", torch_dtype=dtype)


def write_adapters(family: str) -> None:
    """PEFT's own folders, with noise on every tensor, in the values that bfloat16 has."""
    for place, (name, options) in enumerate(ADAPTERS.items()):
        model = get_peft_model(load_unet(family), LoraConfig(**options))
        generator = torch.Generator().manual_seed(1000 + 10 * place + FAMILIES.index(family))
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                changed = parameter * (1 + 0.2 * noise) if "magnitude" in key else 0.3 * parameter + 0.15 * noise
                parameter.data.copy_(changed.to(torch.bfloat16))
        folder = DIFFUSION / family / "adapters" / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink()
        config = json.loads((folder / "adapter_config.json").read_text())
        if isinstance(config["target_modules"], list):
            config["target_modules"].sort()
        write_json(folder / "adapter_config.json", config | {"base_model_name_or_path": None})


def load_adapted(family: str, case: str, dtype: torch.dtype = torch.float32) -> PeftModel:
    folder = DIFFUSION / family / "adapters" / case
    return PeftModel.from_pretrained(load_unet(family, dtype), folder, is_trainable=True, autocast_adapter_dtype=False).to(dtype)


def schedule_of(family: str) -> DDPMScheduler:
    """As the training scripts read any scheduler's file."""
    return DDPMScheduler.from_pretrained(DIFFUSION / family / "model" / "scheduler")


def rows_of(family: str, dtype: torch.dtype) -> list[dict[str, torch.Tensor]]:
    folder = DIFFUSION / family / "rows"
    rows = [load_file(folder / json.loads(line)["file_name"]) for line in (folder / "rows.jsonl").read_text().splitlines()]
    return [{key: tensor if key == "timestep" else tensor.to(dtype) for key, tensor in row.items()} for row in rows]


def prediction_and_target(model, schedule: DDPMScheduler, row: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The noisy latents are computed in the row's dtype, as in the scripts."""
    latents, noise = row["latents"][None], row["noise"][None]
    noisy = schedule.add_noise(latents, noise, row["timestep"])
    condition = {}
    if "pooled" in row:
        condition = {"added_cond_kwargs": {"text_embeds": row["pooled"][None], "time_ids": row["time_ids"][None]}}
    prediction = model(noisy, row["timestep"], row["encoder_hidden_states"][None], **condition).sample
    velocity = schedule.config.prediction_type == "v_prediction"
    return prediction, schedule.get_velocity(latents, noise, row["timestep"]) if velocity else noise


def snr_weight(schedule: DDPMScheduler, row: dict[str, torch.Tensor], gamma: float) -> torch.Tensor:
    """As in diffusers' text_to_image scripts."""
    share = schedule.alphas_cumprod[row["timestep"][0]].double()
    snr = share / (1 - share)
    velocity = schedule.config.prediction_type == "v_prediction"
    return torch.clamp(snr, max=gamma) / (snr + 1 if velocity else snr)


def image_loss(model, schedule: DDPMScheduler, row: dict[str, torch.Tensor], gamma: float | None = None) -> torch.Tensor:
    prediction, target = prediction_and_target(model, schedule, row)
    loss = torch.nn.functional.mse_loss(prediction, target)
    return loss if gamma is None else loss * snr_weight(schedule, row, gamma).to(loss.dtype)


def trained_parameters(model) -> dict[str, torch.nn.Parameter]:
    """By their keys in PEFT's files."""
    return {key.replace(".default", ""): parameter for key, parameter in model.named_parameters() if parameter.requires_grad}


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """The numbers of all tensors in the order of their keys: a key in a file takes more room than the numbers of a small tensor."""
    return torch.cat([tensors[key].detach().flatten() for key in sorted(tensors)])


def gradient_tensors(family: str, case: str) -> dict[str, torch.Tensor]:
    """The losses of the first four rows, the gradients of their mean (computed in float64, because they move by up to 2.5e-5 of a tensor's
    largest value in float32), and the network's outputs for `unet.even` of expected.safetensors' first row."""
    schedule = schedule_of(family)
    wide, wide_rows = load_adapted(family, case, torch.float64), rows_of(family, torch.float64)[:4]
    (sum(image_loss(wide, schedule, row) for row in wide_rows) / len(wide_rows)).backward()
    model, rows = load_adapted(family, case), rows_of(family, torch.float32)[:4]
    tensors = {f"{case}.grad": flat({key: parameter.grad.float() for key, parameter in trained_parameters(wide).items()})}
    with torch.no_grad():
        tensors[f"{case}.losses"] = torch.stack([image_loss(model, schedule, row) for row in rows])
        tensors[f"{case}.snr_losses"] = torch.stack([image_loss(model, schedule, row, 5.0) for row in rows])
        for place in (0, 2):
            tensors[f"{case}.prediction.{place}"] = prediction_and_target(model, schedule, rows[place])[0][0]
    return tensors


def steps_of(rows: list, training: dict) -> list[list]:
    """The rows of each optimizer step: an epoch is the rows in their order, and what is left over at its end is a smaller step."""
    size = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    epoch = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [epoch[step % len(epoch)] for step in range(training["max_steps"])]


def write_run(family: str, case: str) -> None:
    config = {
        "model": {"path": "model", "dtype": "float32", "device": "cpu"},
        "adapter": {"peft_type": "LORA", "lora_dropout": 0.0, "init_from": f"adapters/{case}"} | ADAPTERS[case],
        "data": {"train": [{"path": "rows/rows.jsonl", "format": "diffusion_tensors"}], "shuffle": False},
        "training": TRAINING,
        "output_dir": "out",
    }
    write_json(DIFFUSION / family / f"run_{case}.json", config)


def train_steps(trained: dict, rows: list, loss_of, training: dict = TRAINING, decays=lambda name: True) -> list[dict]:
    """What a training logs of each step; the loss of a step is the mean of loss_of(row). Weights of which decays(name) is false do not."""
    groups = [
        {"params": [parameter for name, parameter in trained.items() if decays(name) == is_decayed], "weight_decay": decay}
        for is_decayed, decay in ((True, training["weight_decay"]), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=training["learning_rate"], eps=training["adam_epsilon"]
    )
    lengths = {"num_warmup_steps": training["warmup_steps"], "num_training_steps": training["max_steps"]}
    rates = get_scheduler(training["lr_scheduler_type"], optimizer, **lengths)
    steps = []
    for number, step_rows in enumerate(steps_of(rows, training)):
        optimizer.zero_grad()
        total = 0.0
        for row in step_rows:
            loss = loss_of(row) / len(step_rows)
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), training["max_grad_norm"]).item()
        steps.append({"step": number + 1, "loss": total, "learning_rate": rates.get_last_lr()[0], "grad_norm": norm})
        optimizer.step()
        rates.step()
    return steps


def train_case(family: str, case: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    model, schedule, rows = load_adapted(family, case, dtype), schedule_of(family), rows_of(family, dtype)
    trained = trained_parameters(model)
    steps = train_steps(trained, rows, lambda row: image_loss(model, schedule, row))
    if dtype == torch.float32:
        write_run(family, case)
        write_json(DIFFUSION / family / f"expected_{case}.json", {"steps": steps, "num_trainable": sum(p.numel() for p in trained.values())})
    if case != "attention" and family == "sd2":
        return {}
    return {f"{case}.trained.{key}": parameter.detach().clone() for key, parameter in trained.items()}
