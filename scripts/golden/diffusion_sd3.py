"""Writes tests/data/diffusion/sd3: a small transformer of Stable Diffusion 3.5, and what diffusers and PEFT compute with it.

The transformer has a second attention in two of its three layers, and norms of queries and keys. Text encoders and the autoencoder of the
pipeline are those of tests/data/diffusion/{sdxl,t5,vae16}.

    PYTHONPATH=<folder of diffusers> python diffusion_sd3.py
"""

import json

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from diffusers.training_utils import compute_loss_weighting_for_sd3
from diffusion_models import DIFFUSION, add_noise, stored
from diffusion_training import train_steps
from llama_reference import be_quiet, one_thread
from peft import LoraConfig, PeftModel, get_peft_model
from quantized import save
from safetensors.torch import load_file
from small_adapters import write_json

FOLDER = DIFFUSION / "sd3"
TRANSFORMER = {
    "_class_name": "SD3Transformer2DModel", "_diffusers_version": "0.31.0.dev0", "attention_head_dim": 8, "caption_projection_dim": 16,
    "dual_attention_layers": [0, 1], "in_channels": 16, "joint_attention_dim": 40, "num_attention_heads": 2, "num_layers": 3,
    "out_channels": 16, "patch_size": 2, "pooled_projection_dim": 32, "pos_embed_max_size": 6, "qk_norm": "rms_norm", "sample_size": 8,
}  # fmt: skip
SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.31.0.dev0", "num_train_timesteps": 1000, "shift": 3.0}
TARGETS = ["attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out", "attn.to_k", "attn.to_out.0", "attn.to_q", "attn.to_v"]
ADAPTER = {"r": 2, "lora_alpha": 4, "target_modules": TARGETS}
ROWS = 6
TRAINING = {
    "objective": "denoising", "max_steps": 20, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 0.005,
    "lr_scheduler_type": "linear", "warmup_steps": 2, "weight_decay": 0.01, "optim": "adamw_torch", "adam_epsilon": 1e-06,
    "max_grad_norm": 0.05, "logging_steps": 1, "weighting_scheme": "none",
}  # fmt: skip
SCHEMES = ["none", "sigma_sqrt", "cosmap"]
STEPS = 4
# Name: keys of the scheduler, and whether the sigmas are FLUX's.
SAMPLERS = {
    "sd3": ({}, False), "flux": ({"shift": 1.0}, True), "dynamic": ({"use_dynamic_shifting": True}, True),
    "dynamic_sd3": ({"use_dynamic_shifting": True, "base_shift": 0.4, "max_shift": 1.3}, False),
    "linear": ({"use_dynamic_shifting": True, "time_shift_type": "linear"}, True),
}  # fmt: skip


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def write_model() -> None:
    folder = FOLDER / "model"
    torch.manual_seed(70)
    transformer = SD3Transformer2DModel.from_config(TRANSFORMER)
    add_noise(transformer, 70, 0.05)
    for name in ("transformer", "scheduler"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / "transformer" / "config.json", TRANSFORMER)
    save(stored(transformer), folder / "transformer" / "diffusion_pytorch_model.safetensors")
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    index = {"_class_name": "StableDiffusion3Pipeline", "_diffusers_version": "0.31.0.dev0"}
    index |= {"transformer": ["diffusers", "SD3Transformer2DModel"], "scheduler": ["diffusers", SCHEDULER["_class_name"]]}
    write_json(folder / "model_index.json", index)


def write_rows() -> None:
    names = []
    for place in range(ROWS):
        size = (16, 6, 4) if place % 4 == 2 or place % 4 == 3 else (16, 4, 4)
        row = {"latents": random(100 + place, *size), "noise": random(200 + place, *size)}
        row |= {"encoder_hidden_states": random(300 + place, 5, 40), "pooled": random(400 + place, 32)}
        row = {name: tensor.to(torch.float16) for name, tensor in row.items()}
        save(row | {"timestep": torch.tensor([(137 + 151 * place) % 1000])}, FOLDER / "rows" / f"{place}.safetensors")
        names.append(json.dumps({"file_name": f"{place}.safetensors"}))
    (FOLDER / "rows" / "rows.jsonl").write_text("\n".join(names) + "\n", encoding="utf-8")


def load_transformer() -> SD3Transformer2DModel:
    return SD3Transformer2DModel.from_pretrained(FOLDER / "model" / "transformer", torch_dtype=torch.float32)


def write_adapter() -> None:
    model = get_peft_model(load_transformer(), LoraConfig(**ADAPTER))
    generator = torch.Generator().manual_seed(71)
    for parameter in model.parameters():
        if parameter.requires_grad:
            changed = 0.3 * parameter + 0.15 * torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(changed.to(torch.bfloat16))
    model.save_pretrained(FOLDER / "adapter")
    (FOLDER / "adapter" / "README.md").unlink()
    config = json.loads((FOLDER / "adapter" / "adapter_config.json").read_text())
    config["target_modules"].sort()
    write_json(FOLDER / "adapter" / "adapter_config.json", config | {"base_model_name_or_path": None})


def load_adapted() -> PeftModel:
    return PeftModel.from_pretrained(load_transformer(), FOLDER / "adapter", is_trainable=True, autocast_adapter_dtype=False)


def rows_of() -> list[dict[str, torch.Tensor]]:
    rows = [load_file(FOLDER / "rows" / f"{place}.safetensors") for place in range(ROWS)]
    return [{key: tensor if key == "timestep" else tensor.float()[None] for key, tensor in row.items()} for row in rows]


def image_loss(model, row: dict[str, torch.Tensor], scheme: str = "none", precondition: bool = False) -> torch.Tensor:
    """As in diffusers' train_dreambooth_lora_sd3.py. Timestep 0 of a row is the least noisy one, the scheduler's last."""
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(SCHEDULER)
    index = len(scheduler.timesteps) - 1 - row["timestep"]
    timesteps, sigmas = scheduler.timesteps[index], scheduler.sigmas[index].view(-1, 1, 1, 1)
    latents, noise = row["latents"], row["noise"]
    noisy = (1.0 - sigmas) * latents + sigmas * noise
    output = model(
        hidden_states=noisy, timestep=timesteps, encoder_hidden_states=row["encoder_hidden_states"], pooled_projections=row["pooled"],
        return_dict=False,
    )[0]  # fmt: skip
    target = noise - latents
    if precondition:
        output, target = output * (-sigmas) + noisy, latents
    weighting = compute_loss_weighting_for_sd3(scheme, sigmas)
    return torch.mean((weighting.float() * (output.float() - target.float()) ** 2).reshape(target.shape[0], -1), 1).mean()


def trained_parameters(model) -> dict[str, torch.nn.Parameter]:
    return {key.replace(".default", ""): parameter for key, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def output_tensors() -> dict[str, torch.Tensor]:
    model, tensors = load_transformer(), {}
    for name, size in (("square", (8, 8)), ("wide", (4, 12))):
        sample, times = random(500, 2, 16, *size), torch.tensor([999.5, 3.25])
        states, pooled = random(501, 2, 7, 40), random(502, 2, 32)
        tensors[f"{name}.output"] = model(sample, states, pooled, times, return_dict=False)[0]
        tensors |= {f"{name}.sample": sample, f"{name}.times": times, f"{name}.states": states, f"{name}.pooled": pooled}
    return tensors


def gradient_tensors() -> dict[str, torch.Tensor]:
    """Of the mean loss of the first four rows."""
    model, rows = load_adapted(), rows_of()[:4]
    (sum(image_loss(model, row) for row in rows) / len(rows)).backward()
    tensors = {f"grad.{key}": parameter.grad for key, parameter in trained_parameters(model).items()}
    with torch.no_grad():
        for scheme in SCHEMES:
            for precondition in (False, True):
                losses = [image_loss(model, row, scheme, precondition) for row in rows_of()]
                tensors[f"losses.{scheme}.{int(precondition)}"] = torch.stack(losses)
    return tensors


@torch.no_grad()
def schedule_tensors() -> dict[str, torch.Tensor]:
    model, tensors = load_transformer(), {}
    states, pooled = random(501, 2, 7, 40), random(502, 2, 32)
    for shift, dynamic in ((1.0, False), (3.0, False), (3.0, True)):
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift, use_dynamic_shifting=dynamic)
        tensors[f"sigmas.{shift:.0f}.{int(dynamic)}"] = scheduler.sigmas[::37].clone()
    for name, (changes, evenly) in SAMPLERS.items():
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(SCHEDULER | changes)
        config = scheduler.config
        patches = 4 * 4
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        mu = patches * slope + config.base_shift - slope * config.base_image_seq_len  # calculate_shift of the pipelines
        spaced = {"sigmas": [1 - i * (1 - 1 / STEPS) / (STEPS - 1) for i in range(STEPS)]} if evenly else {"num_inference_steps": STEPS}
        scheduler.set_timesteps(**spaced, mu=mu if config.use_dynamic_shifting else None)
        latents = random(500, 2, 16, 8, 8)[:1]
        for time in scheduler.timesteps:
            pair = model(torch.cat([latents] * 2), states, pooled, time.expand(2), return_dict=False)[0]
            uncond, condition = pair.chunk(2)
            latents = scheduler.step(uncond + 7.0 * (condition - uncond), time, latents, return_dict=False)[0]
        tensors |= {f"sampler.{name}.times": scheduler.timesteps, f"sampler.{name}.latents": latents}
    return tensors


def train() -> dict[str, torch.Tensor]:
    model, rows = load_adapted(), rows_of()
    trained = trained_parameters(model)
    steps = train_steps(trained, rows, lambda row: image_loss(model, row), TRAINING)
    write_json(FOLDER / "expected_adapter.json", {"steps": steps, "num_trainable": sum(p.numel() for p in trained.values())})
    config = {
        "model": {"path": "model", "dtype": "float32", "device": "cpu"},
        "adapter": {"peft_type": "LORA", "lora_dropout": 0.0, "init_from": "adapter"} | ADAPTER,
        "data": {"train": [{"path": "rows/rows.jsonl", "format": "diffusion_tensors"}], "shuffle": False},
        "training": TRAINING,
        "output_dir": "out",
    }
    write_json(FOLDER / "run_adapter.json", config)
    return {f"adapter.trained.{key}": parameter.detach().clone() for key, parameter in trained.items()}


def main() -> None:
    be_quiet()
    write_model()
    write_rows()
    write_adapter()
    with one_thread():
        save(output_tensors() | gradient_tensors() | schedule_tensors() | train(), FOLDER / "expected.safetensors")


if __name__ == "__main__":
    main()
