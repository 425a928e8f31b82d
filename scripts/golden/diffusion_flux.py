"""Writes tests/data/diffusion/flux: a small transformer of FLUX.1-dev, and what diffusers and PEFT compute with it, plain and in NF4.

Text encoders and the autoencoder of the pipeline are those of tests/data/diffusion/{sd1,t5,vae16}.

    PYTHONPATH=<folder of diffusers> python diffusion_flux.py
"""

import json

import torch
from bitsandbytes import functional
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.optimization import get_scheduler
from diffusion_models import DIFFUSION, add_noise, stored
from diffusion_sd3 import TRAINING as SD3_TRAINING
from diffusion_sd3 import random, trained_parameters
from diffusion_training import steps_of
from llama_reference import be_quiet, one_thread
from peft import LoraConfig, PeftModel, get_peft_model
from quantized import save
from safetensors.torch import load_file
from small_adapters import write_json

FOLDER = DIFFUSION / "flux"
TRANSFORMER = {
    "_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0.dev0", "attention_head_dim": 8, "axes_dims_rope": [2, 2, 4],
    "guidance_embeds": True, "in_channels": 64, "joint_attention_dim": 40, "num_attention_heads": 2, "num_layers": 1,
    "num_single_layers": 2, "patch_size": 1, "pooled_projection_dim": 16,
}  # fmt: skip
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0.dev0", "base_image_seq_len": 256, "base_shift": 0.5,
    "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
}  # fmt: skip
SCRIPTS_TARGETS = [
    "attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out", "attn.to_k", "attn.to_out.0", "attn.to_q", "attn.to_v",
    "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2",
]  # fmt: skip
# Every Linear of the network but some of the embedders'.
TARGETS = SCRIPTS_TARGETS + [
    "context_embedder", "guidance_embedder.linear_2", "norm.linear", "norm1.linear", "norm1_context.linear", "norm_out.linear", "proj_mlp",
    "proj_out", "text_embedder.linear_1", "timestep_embedder.linear_2", "x_embedder",
]  # fmt: skip
ADAPTER = {"r": 2, "lora_alpha": 4, "target_modules": TARGETS}
ROWS = 6
TRAINING = SD3_TRAINING
GUIDANCE = 3.5  # the default of train_dreambooth_lora_flux.py
STEPS = 4


def write_model() -> None:
    folder = FOLDER / "model"
    torch.manual_seed(80)
    transformer = FluxTransformer2DModel.from_config(TRANSFORMER)
    add_noise(transformer, 80, 0.05)
    for name in ("transformer", "scheduler"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / "transformer" / "config.json", TRANSFORMER)
    save(stored(transformer), folder / "transformer" / "diffusion_pytorch_model.safetensors")
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    index = {"_class_name": "FluxPipeline", "_diffusers_version": "0.30.0.dev0"}
    index |= {"transformer": ["diffusers", "FluxTransformer2DModel"], "scheduler": ["diffusers", SCHEDULER["_class_name"]]}
    write_json(folder / "model_index.json", index)


def write_rows() -> None:
    names = []
    for place in range(ROWS):
        size = (16, 6, 4) if place % 4 == 2 or place % 4 == 3 else (16, 4, 4)
        row = {"latents": random(100 + place, *size), "noise": random(200 + place, *size)}
        row |= {"encoder_hidden_states": random(300 + place, 5, 40), "pooled": random(400 + place, 16)}
        row = {name: tensor.to(torch.float16) for name, tensor in row.items()}
        save(row | {"timestep": torch.tensor([(137 + 151 * place) % 1000])}, FOLDER / "rows" / f"{place}.safetensors")
        names.append(json.dumps({"file_name": f"{place}.safetensors"}))
    (FOLDER / "rows" / "rows.jsonl").write_text("\n".join(names) + "\n", encoding="utf-8")


def load_transformer() -> FluxTransformer2DModel:
    return FluxTransformer2DModel.from_pretrained(FOLDER / "model" / "transformer", torch_dtype=torch.float32)


def without_guidance(model: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """The same network as FLUX.1-schnell has it."""
    other = FluxTransformer2DModel.from_config(TRANSFORMER | {"guidance_embeds": False})
    weights = model.state_dict()
    other.load_state_dict({name: weights[name] for name in other.state_dict()})
    return other


def write_adapter() -> None:
    model = get_peft_model(load_transformer(), LoraConfig(**ADAPTER))
    generator = torch.Generator().manual_seed(81)
    for parameter in model.parameters():
        if parameter.requires_grad:
            changed = 0.3 * parameter + 0.15 * torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(changed.to(torch.bfloat16))
    model.save_pretrained(FOLDER / "adapter")
    file = FOLDER / "adapter" / "adapter_model.safetensors"
    save({name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}, file)
    (FOLDER / "adapter" / "README.md").unlink()
    config = json.loads((FOLDER / "adapter" / "adapter_config.json").read_text())
    config["target_modules"].sort()
    write_json(FOLDER / "adapter" / "adapter_config.json", config | {"base_model_name_or_path": None})


def quantized(model: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """Every Linear with the values that its weight has in NF4. diffusers packs all of them with bitsandbytes too, but needs a GPU for it;
    bitsandbytes' function for CPUs errs where blocks cross rows, so that each block is a row here."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            blocks = module.weight.data.reshape(-1, 64)
            packed, state = functional.quantize_4bit(blocks, blocksize=64, quant_type="nf4")
            module.weight.data = functional.dequantize_4bit(packed, state).reshape(module.weight.shape)
    return model


def load_adapted(base: FluxTransformer2DModel | None = None) -> PeftModel:
    base = base or load_transformer()
    return PeftModel.from_pretrained(base, FOLDER / "adapter", is_trainable=True, autocast_adapter_dtype=False)


def rows_of() -> list[dict[str, torch.Tensor]]:
    rows = [load_file(FOLDER / "rows" / f"{place}.safetensors") for place in range(ROWS)]
    return [{key: tensor if key == "timestep" else tensor.float()[None] for key, tensor in row.items()} for row in rows]


def predict(model, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor, pooled: torch.Tensor, guidance: float | None):
    """As in diffusers' train_dreambooth_lora_flux.py and FluxPipeline; times from 0 to 1000."""
    images, channels, height, width = latents.shape
    image_ids = FluxPipeline._prepare_latent_image_ids(images, height // 2, width // 2, latents.device, latents.dtype)
    packed = FluxPipeline._pack_latents(latents, images, channels, height, width)
    output = model(
        hidden_states=packed, timestep=times / 1000, guidance=None if guidance is None else torch.tensor([guidance]).expand(images),
        pooled_projections=pooled, encoder_hidden_states=states, txt_ids=torch.zeros(states.shape[1], 3), img_ids=image_ids,
        return_dict=False,
    )[0]  # fmt: skip
    return FluxPipeline._unpack_latents(output, height=8 * height, width=8 * width, vae_scale_factor=8)


def image_loss(model, row: dict[str, torch.Tensor], guidance: float = GUIDANCE) -> torch.Tensor:
    """Timestep 0 of a row is the least noisy one, the scheduler's last."""
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(SCHEDULER)
    index = len(scheduler.timesteps) - 1 - row["timestep"]
    timesteps, sigmas = scheduler.timesteps[index], scheduler.sigmas[index].view(-1, 1, 1, 1)
    latents, noise = row["latents"], row["noise"]
    noisy = (1.0 - sigmas) * latents + sigmas * noise
    output = predict(model, noisy, timesteps, row["encoder_hidden_states"], row["pooled"], guidance)
    return torch.mean((output.float() - (noise - latents).float()) ** 2)


@torch.no_grad()
def output_tensors() -> dict[str, torch.Tensor]:
    model, tensors = load_transformer(), {}
    for name, size in (("square", (4, 4)), ("wide", (2, 6))):
        sample, times = random(500, 2, 16, *size), torch.tensor([999.5, 3.25])
        states, pooled = random(501, 2, 7, 40), random(502, 2, 16)
        tensors[f"{name}.output"] = predict(model, sample, times, states, pooled, 2.5)
        tensors |= {f"{name}.sample": sample, f"{name}.times": times, f"{name}.states": states, f"{name}.pooled": pooled}
    tensors["schnell.output"] = predict(without_guidance(model), sample, times, states, pooled, None)
    return tensors


def gradient_tensors() -> dict[str, torch.Tensor]:
    """Of the mean loss of the first four rows."""
    model, rows = load_adapted(), rows_of()[:4]
    (sum(image_loss(model, row) for row in rows) / len(rows)).backward()
    tensors = {f"grad.{key}": parameter.grad for key, parameter in trained_parameters(model).items()}
    with torch.no_grad():
        tensors["losses.guidance_1"] = torch.stack([image_loss(model, row, guidance=1.0) for row in rows])
    return tensors


@torch.no_grad()
def sample_tensors() -> dict[str, torch.Tensor]:
    """An image of 4 by 4 latents, as FluxPipeline computes it."""
    model, scheduler = load_transformer(), FlowMatchEulerDiscreteScheduler.from_config(SCHEDULER)
    config, patches = scheduler.config, 2 * 2
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    mu = patches * slope + config.base_shift - slope * config.base_image_seq_len  # calculate_shift
    scheduler.set_timesteps(sigmas=[1 - i * (1 - 1 / STEPS) / (STEPS - 1) for i in range(STEPS)], mu=mu)
    latents, states, pooled = random(500, 2, 16, 4, 4)[:1], random(501, 2, 7, 40)[:1], random(502, 2, 16)[:1]
    for time in scheduler.timesteps:
        latents = scheduler.step(predict(model, latents, time.expand(1), states, pooled, GUIDANCE), time, latents, return_dict=False)[0]
    return {"sampler.latents": latents}


def train(model: PeftModel, name: str) -> dict[str, torch.Tensor]:
    rows = rows_of()
    trained = trained_parameters(model)
    optimizer = torch.optim.AdamW(
        trained.values(), lr=TRAINING["learning_rate"], eps=TRAINING["adam_epsilon"], weight_decay=TRAINING["weight_decay"]
    )
    lengths = {"num_warmup_steps": TRAINING["warmup_steps"], "num_training_steps": TRAINING["max_steps"]}
    rates = get_scheduler(TRAINING["lr_scheduler_type"], optimizer, **lengths)
    steps = []
    for number, step_rows in enumerate(steps_of(rows, TRAINING)):
        optimizer.zero_grad()
        loss = sum(image_loss(model, row) for row in step_rows) / len(step_rows)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), TRAINING["max_grad_norm"]).item()
        steps.append({"step": number + 1, "loss": loss.item(), "learning_rate": rates.get_last_lr()[0], "grad_norm": norm})
        optimizer.step()
        rates.step()
    write_json(FOLDER / f"expected_{name}.json", {"steps": steps, "num_trainable": sum(p.numel() for p in trained.values())})
    return {f"{name}.trained.{key}": parameter.detach().clone() for key, parameter in trained.items()}


def write_run() -> None:
    config = {
        "model": {"path": "model", "dtype": "float32", "device": "cpu"},
        "adapter": {"peft_type": "LORA", "lora_dropout": 0.0, "init_from": "adapter"} | ADAPTER,
        "data": {"train": [{"path": "rows/rows.jsonl", "format": "diffusion_tensors"}], "shuffle": False},
        "training": TRAINING,
        "output_dir": "out",
    }
    write_json(FOLDER / "run_adapter.json", config)


def main() -> None:
    be_quiet()
    write_model()
    write_rows()
    write_adapter()
    write_run()
    with one_thread():
        trained = train(load_adapted(), "adapter")
        save(output_tensors() | gradient_tensors() | sample_tensors() | trained, FOLDER / "expected.safetensors")
        train(load_adapted(quantized(load_transformer())), "nf4")


if __name__ == "__main__":
    main()
