"""Writes tests/data/diffusion/<family>/everywhere.safetensors: LoRA on every Linear and Conv2d of the UNet.

    PYTHONPATH=<folder of diffusers and open_clip> python diffusion_everywhere.py

`value` are the adapter's tensors, `grad` the gradients of the mean loss of the first four rows, flat in the order of PEFT's keys. They are
computed in float64: in float32 the gradients of diffusers' own modules move by 1e-5 of a tensor's largest value.
"""

import torch
from diffusion_models import DIFFUSION, FAMILIES
from diffusion_training import flat, image_loss, load_unet, rows_of, schedule_of, trained_parameters
from llama_reference import be_quiet, one_thread
from peft import LoraConfig, get_peft_model
from quantized import save

EVERYWHERE = [
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2", "conv1", "conv2", "conv_shortcut", "time_emb_proj",
    "linear_1", "linear_2", "conv", "conv_in", "conv_out",
]  # fmt: skip


def everywhere(family: str) -> dict[str, torch.Tensor]:
    config = LoraConfig(r=1, lora_alpha=2, target_modules=EVERYWHERE)
    model = get_peft_model(load_unet(family, torch.float64), config, autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(1100 + FAMILIES.index(family))
    trained = trained_parameters(model)
    for parameter in trained.values():
        parameter.data = (0.1 * torch.randn(parameter.shape, generator=generator)).to(torch.bfloat16).double()
    rows = rows_of(family, torch.float64)[:4]
    schedule = schedule_of(family)
    (sum(image_loss(model, schedule, row) for row in rows) / len(rows)).backward()
    return {"value": flat(trained).to(torch.bfloat16), "grad": flat({key: parameter.grad for key, parameter in trained.items()}).float()}


def main() -> None:
    be_quiet()
    one_thread()
    for family in ("sd1", "sdxl"):  # SD2 has the modules of both
        save(everywhere(family), DIFFUSION / family / "everywhere.safetensors")


if __name__ == "__main__":
    main()
