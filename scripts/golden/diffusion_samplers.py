"""Latents of diffusers' samplers after each step, from given noise, and the image of a whole pipeline."""

from unittest import mock

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

SAMPLERS = {
    "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "euler_a": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}  # fmt: skip
STEPS = 5
GUIDANCE = 7.5
# Keys of the scheduler that differ from the folder's file. Every family has the four samplers with its own file.
VARIANTS = {
    "sd1": {
        "ddim.trailing": {"timestep_spacing": "trailing", "set_alpha_to_one": True}, "euler.trailing": {"timestep_spacing": "trailing"},
        "euler_a.leading": {"timestep_spacing": "leading"}, "dpmpp_2m.leading": {"timestep_spacing": "leading"},
        "dpmpp_2m.trailing": {"timestep_spacing": "trailing"}, "ddim.linspace": {"timestep_spacing": "linspace"},
    },
    "sd2": {
        "ddim.zero_snr": {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        "euler.zero_snr": {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
    },
    "sdxl": {"euler.karras": {"use_karras_sigmas": True}, "dpmpp_2m.karras": {"use_karras_sigmas": True}},
}  # fmt: skip


def noise_of_step(step: int, shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3000 + step))


@torch.no_grad()
def states_of(pipeline, family: str, negative: str | None):
    if family != "sdxl":
        condition, uncond = pipeline.encode_prompt("a photo of a cat", "cpu", 1, True, negative_prompt=negative)
        return torch.cat([uncond, condition]), {}
    condition, uncond, pooled, uncond_pooled = pipeline.encode_prompt("a photo of a cat", device="cpu", negative_prompt=negative)
    ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    return torch.cat([uncond, condition]), {"text_embeds": torch.cat([uncond_pooled, pooled]), "time_ids": ids}


@torch.no_grad()
def sample(pipeline, family: str, name: str, changes: dict, steps: int = STEPS, negative: str | None = None) -> dict[str, torch.Tensor]:
    scheduler = SAMPLERS[name.split(".")[0]].from_config(pipeline.scheduler.config, **changes)
    scheduler.set_timesteps(steps)
    states, added = states_of(pipeline, family, negative)
    latents = noise_of_step(-1, (1, 4, 8, 8)) * scheduler.init_noise_sigma
    tensors = {"timesteps": scheduler.timesteps.float()}
    if hasattr(scheduler, "sigmas"):
        tensors["sigmas"] = scheduler.sigmas.float()
    each = []
    for step, time in enumerate(scheduler.timesteps):
        inputs = scheduler.scale_model_input(torch.cat([latents] * 2), time)
        uncond, condition = pipeline.unet(inputs, time, states, added_cond_kwargs=added or None).sample.chunk(2)
        prediction = uncond + GUIDANCE * (condition - uncond)
        module = type(scheduler).__module__
        with mock.patch(f"{module}.randn_tensor", lambda shape, step=step, **_: noise_of_step(step, shape)):
            latents = scheduler.step(prediction, time, latents).prev_sample
        each.append(latents[0])
    tensors["latents"] = torch.stack(each)
    if not each[-1].isfinite().all():
        raise RuntimeError(f"{name} diverges")
    return {f"sampler.{name}.{key}": tensor for key, tensor in tensors.items()}


def sampler_tensors(pipeline, family: str) -> dict[str, torch.Tensor]:
    states, added = states_of(pipeline, family, None)
    tensors = {"sampler.start": noise_of_step(-1, (1, 4, 8, 8))[0], "sampler.states": states}
    tensors |= {f"sampler.{key}": tensor for key, tensor in added.items()}
    tensors["sampler.noise"] = torch.stack([noise_of_step(step, (4, 8, 8)) for step in range(STEPS)])
    for name in SAMPLERS:
        tensors |= sample(pipeline, family, name, {})
    for name, changes in VARIANTS[family].items():
        tensors |= sample(pipeline, family, name, changes)
    return tensors


def image_of_pipeline(pipeline, prompt: str) -> dict[str, torch.Tensor]:
    """The whole pipeline with DDIM, as bytes [H, W, 3], without and with a negative prompt."""
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "height": 64, "width": 64, "output_type": "np"}
    tensors = {}
    for name, negative in (("plain", None), ("negative", "a red house")):
        start = noise_of_step(-1, (1, 4, 8, 8))
        image = pipeline(prompt, negative_prompt=negative, latents=start, **options).images[0]
        tensors[f"image.{name}"] = torch.from_numpy((image * 255).round().astype("uint8"))
    return tensors
