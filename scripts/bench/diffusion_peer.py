"""The peer of scripts/bench/diffusion.py: diffusers' UNet + PEFT, with random weights in the shapes of Stable Diffusion 1.5.

    python diffusion_peer.py prepare --work DIR --dtype float32 --size 256 --rows 8
    python diffusion_peer.py train --work DIR --dtype float32 --size 256 --batch-size 4 --steps 3 --layout channels_last --output DIR
    python diffusion_peer.py layouts --work DIR --dtype float32 --size 256
    python diffusion_peer.py rate --dtype float32 --size 256 --batch-size 4 --layout channels_last

`prepare` writes a pipeline folder, an adapter and rows, unless they are there. `train` is a plain loop and writes metrics.jsonl as
lora-train does, and peer.json. `layouts` prints the seconds of a step in each memory layout. `rate` prints {"step_flops": …, "flops_per_second": …}: what a step computes in convolutions and
products, and how fast torch's own do so at the same shapes.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import peft
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

UNET = {
    "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "sample_size": 64,
}  # fmt: skip
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
LORA = {"r": 16, "lora_alpha": 16, "target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}
TEXT_POSITIONS, TEXT_CHANNELS = 77, 768
MAX_GRAD_NORM = 1.0
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
REPEATS = 2


def meta_unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**UNET)


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def random_weight(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Values that keep activations near 1: norms around 1, others by their number of inputs."""
    noise = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return 0.05 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return noise / shape[1:].numel() ** 0.5


def write_pipeline(folder: Path, dtype: torch.dtype) -> None:
    unet = {"_class_name": "UNet2DConditionModel", "_diffusers_version": diffusers.__version__} | UNET
    schedule = {"_class_name": "DDPMScheduler", "_diffusers_version": diffusers.__version__} | SCHEDULE
    write_json(folder / "unet/config.json", unet)
    write_json(folder / "scheduler/scheduler_config.json", schedule)
    generator = torch.Generator().manual_seed(1)
    tensors = {name: random_weight(name, p.shape, generator).to(dtype) for name, p in meta_unet().state_dict().items()}
    save_file(tensors, folder / "unet/diffusion_pytorch_model.safetensors")
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    none = {name: [None, None] for name in ("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor")}
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__} | parts | none)


def write_adapter(folder: Path) -> None:
    """Both matrices have values, so that every gradient has them."""
    model = get_peft_model(meta_unet(), LoraConfig(**LORA))
    generator = torch.Generator().manual_seed(2)
    tensors = {name.replace(".default", ""): 0.02 * torch.randn(p.shape, generator=generator)
               for name, p in model.named_parameters() if p.requires_grad}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": None, "bias": "none"} | LORA)


def write_rows(folder: Path, size: int, count: int) -> None:
    generator = torch.Generator().manual_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        row = {name: torch.randn((4, size // 8, size // 8), generator=generator) for name in ("latents", "noise")}
        row["timestep"] = torch.randint(0, 1000, (1,), generator=generator)
        row["encoder_hidden_states"] = torch.randn((TEXT_POSITIONS, TEXT_CHANNELS), generator=generator)
        save_file(row, folder / f"{place}.safetensors")
    lines = [json.dumps({"file_name": f"{place}.safetensors"}) for place in range(count)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(options: argparse.Namespace) -> None:
    model = options.work / f"model-{options.dtype}"
    if not (model / "model_index.json").exists():
        write_pipeline(model, getattr(torch, options.dtype))
    write_adapter(options.work / "adapter")
    write_rows(options.work / f"rows-{options.size}", options.size, options.rows)


def read_batches(options: argparse.Namespace) -> list[dict[str, torch.Tensor]]:
    """Rows in their order, again from the start where they end; `options.steps` batches."""
    folder = options.work / f"rows-{options.size}"
    names = [json.loads(line)["file_name"] for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [load_file(folder / name) for name in names]
    batches = []
    for step in range(options.steps):
        batch = [rows[(step * options.batch_size + i) % len(rows)] for i in range(options.batch_size)]
        batches.append({key: torch.stack([row[key] for row in batch]) for key in batch[0]})
    return batches


def status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def load_model(options: argparse.Namespace) -> PeftModel:
    """The base in its dtype, the adapter in float32: PEFT's default, under autocast where the base is bfloat16, as in the scripts."""
    base = UNet2DConditionModel.from_pretrained(options.work / f"model-{options.dtype}" / "unet", torch_dtype=getattr(torch, options.dtype))
    for parameter in base.parameters():
        parameter.data = parameter.data.clone()  # so that no mapped file counts in addition to the weights
    base = base.to(memory_format=LAYOUTS[options.layout])
    return PeftModel.from_pretrained(base, options.work / "adapter", is_trainable=True).train()


def loss_of(model: PeftModel, schedule: DDPMScheduler, batch: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """diffusers' train_text_to_image_lora.py: the loss is computed in float32."""
    latents, noise, times = batch["latents"].to(dtype), batch["noise"].to(dtype), batch["timestep"].flatten()
    noisy = schedule.add_noise(latents, noise, times)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        prediction = model(noisy, times, batch["encoder_hidden_states"].to(dtype)).sample
    return torch.nn.functional.mse_loss(prediction.float(), noise.float())


def print_layouts(options: argparse.Namespace) -> None:
    """Forward and backward, the second time in each layout."""
    options.steps = 2
    batches, schedule, seconds = read_batches(options), DDPMScheduler(**SCHEDULE), {}
    model = load_model(options)
    for layout, memory in LAYOUTS.items():
        model = model.to(memory_format=memory)
        for batch in batches:
            start = time.perf_counter()
            loss_of(model, schedule, batch, getattr(torch, options.dtype)).backward()
            seconds[layout] = time.perf_counter() - start
    print(json.dumps(seconds))


def train(options: argparse.Namespace) -> None:
    batches = read_batches(options)
    schedule = DDPMScheduler(**SCHEDULE)
    model = load_model(options)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)
    # The peak counts from here: reading the file has one of its own.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    with (options.output / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        for step, batch in enumerate(batches):
            start = time.perf_counter()
            loss = loss_of(model, schedule, batch, getattr(torch, options.dtype))
            loss.backward()
            grad_norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM).item()
            optimizer.step()
            optimizer.zero_grad()
            count = options.batch_size
            row = {"step": step + 1, "loss": loss.item(), "grad_norm": grad_norm, "num_input_tokens": count}
            metrics.write(json.dumps(row | {"tokens_per_second": count / (time.perf_counter() - start)}) + "\n")
            metrics.flush()
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "peft": peft.__version__}
    write_json(options.output / "peer.json", {"versions": versions, "threads": torch.get_num_threads(), "peak": status_bytes("VmHWM")})


class Shapes:
    """The calls of a training step, found by running it without data: how often each convolution, product and attention runs, and
    whether its input has a gradient."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.calls: dict[tuple, int] = {}
        self.attention_flops = 0.0
        model = get_peft_model(meta_unet(), LoraConfig(**LORA))
        for module in model.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.register_forward_pre_hook(self.count)
        self.attend = torch.nn.functional.scaled_dot_product_attention
        torch.nn.functional.scaled_dot_product_attention = self.count_attention
        side, images = options.size // 8, options.batch_size
        latents = torch.empty((images, 4, side, side), device="meta")
        model(latents, torch.empty(images, device="meta"), torch.empty((images, TEXT_POSITIONS, TEXT_CHANNELS), device="meta"))
        torch.nn.functional.scaled_dot_product_attention = self.attend

    def count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        x = inputs[0]
        steps = (module.stride[0], module.padding[0]) if isinstance(module, torch.nn.Conv2d) else None
        key = (tuple(x.shape), tuple(module.weight.shape), steps, x.requires_grad, module.weight.requires_grad)
        self.calls[key] = self.calls.get(key, 0) + 1

    def count_attention(self, query: torch.Tensor, key: torch.Tensor, *others, **options) -> torch.Tensor:
        """2 products forward and 4 backward; what is recomputed is not counted."""
        self.attention_flops += 6 * 2.0 * query.numel() * key.shape[-2]
        return self.attend(query, key, *others, **options)


def best_seconds(run) -> float:
    run()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def product_call(key: tuple, dtype: torch.dtype) -> tuple[float, float]:
    """FLOPs and seconds of x Wᵀ forward, and of dY W and dYᵀ X where there are such gradients."""
    x_shape, w_shape, _, has_gradient, is_trained = key
    x, weight = torch.randn((torch.Size(x_shape[:-1]).numel(), x_shape[-1])).to(dtype), torch.randn(w_shape).to(dtype)
    dy = torch.mm(x, weight.t())
    seconds = best_seconds(lambda: torch.mm(x, weight.t()))
    seconds += best_seconds(lambda: torch.mm(dy, weight)) if has_gradient else 0
    seconds += best_seconds(lambda: torch.mm(dy.t(), x)) if is_trained else 0
    return 2.0 * x.shape[0] * weight.numel() * (1 + has_gradient + is_trained), seconds


def convolution_call(key: tuple, dtype: torch.dtype, layout: str) -> tuple[float, float]:
    x_shape, w_shape, (stride, padding), has_gradient, _ = key
    x, weight = (torch.randn(shape).to(dtype).contiguous(memory_format=LAYOUTS[layout]) for shape in (x_shape, w_shape))
    steps = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
    y = torch.convolution(x, weight, None, *steps)
    seconds = best_seconds(lambda: torch.convolution(x, weight, None, *steps))
    if has_gradient:
        seconds += best_seconds(lambda: torch.ops.aten.convolution_backward(y, x, weight, None, *steps, [True, False, False]))
    return 2.0 * y.numel() * weight[0].numel() * (1 + has_gradient), seconds


def print_rate(options: argparse.Namespace) -> None:
    shapes, dtype = Shapes(options), getattr(torch, options.dtype)
    flops = seconds = 0.0
    with torch.no_grad():
        for key, times in shapes.calls.items():
            own_flops, own_seconds = product_call(key, dtype) if key[2] is None else convolution_call(key, dtype, options.layout)
            flops += times * own_flops
            seconds += times * own_seconds
    print(json.dumps({"step_flops": flops + shapes.attention_flops, "flops_per_second": flops / seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "layouts", "train", "rate"])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--layout", choices=LAYOUTS, default="channels_last")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    {"prepare": prepare, "layouts": print_layouts, "train": train, "rate": print_rate}[options.command](options)


if __name__ == "__main__":
    main()
