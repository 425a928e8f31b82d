"""Writes tests/data/diffusion: the small pipelines of diffusion_models.py and what diffusers, transformers and PEFT compute with them.

    PYTHONPATH=<folder of diffusers and open_clip> python diffusion_expected.py [--stability]

--stability: how far the trainings move if they are computed in float64, which must be well below the tolerances of the tests.
See "Diffusion" in README.md for what is in the files.
"""

import argparse

import torch
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers.training_utils import compute_snr
from diffusion_models import DIFFUSION, FAMILIES, load_pipeline, write_models
from diffusion_samplers import image_of_pipeline, sampler_tensors
from diffusion_training import gradient_tensors, train_case, write_adapters, write_rows
from llama_reference import be_quiet, one_thread
from quantized import print_size, save, write_versions
from small_adapters import write_json

CAPTIONS = ["a photo of a cat", "", "A red  house, 3 trees & the sea!!", "the colours of a winter morning over the old harbour, " * 4]
SCHEDULES = {
    "linear": {},
    "scaled_linear": {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "trained": {"trained_betas": [0.001 * (1 + i) for i in range(40)], "num_train_timesteps": 40},
}


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def text_tensors(pipeline) -> dict[str, torch.Tensor]:
    tensors = {}
    for number, place in enumerate(("", "_2")):
        tokenizer, encoder = getattr(pipeline, "tokenizer" + place, None), getattr(pipeline, "text_encoder" + place, None)
        if encoder is None:
            continue
        ids = tokenizer(CAPTIONS, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        output = encoder(ids, output_hidden_states=True)
        name = f"text{number + 1}"
        tensors |= {f"{name}.ids": ids, f"{name}.hidden.{len(output.hidden_states) - 2}": output.hidden_states[-2]}
        tensors |= {f"{name}.last_hidden_state": output.last_hidden_state}
        tensors |= {f"{name}.pooled": output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output}
    if hasattr(pipeline, "text_encoder_2"):
        states, _, pooled, _ = pipeline.encode_prompt(CAPTIONS, device="cpu", do_classifier_free_guidance=False)
        return tensors | {"text.states": states, "text.pooled": pooled}
    # By hand: diffusers' clip_skip looks for an attribute that transformers 5.6 dropped.
    skipped = pipeline.text_encoder.final_layer_norm(tensors["text1.hidden.2"])
    return tensors | {"text.clip_skip_1": skipped}


@torch.no_grad()
def vae_tensors(vae, seed: int) -> dict[str, torch.Tensor]:
    image = random(seed, 1, 3, 24, 40).clamp(-1, 1)
    latents = random(seed + 1, 1, vae.config.latent_channels, 3, 5)
    noise = random(seed + 2, *latents.shape)
    posterior = vae.encode(image).latent_dist
    shift = vae.config.shift_factor or 0.0
    drawn = (posterior.mean + posterior.std * noise - shift) * vae.config.scaling_factor
    tensors = {"image": image, "moments": posterior.parameters, "mean": posterior.mean, "logvar": posterior.logvar, "noise": noise}
    tensors |= {"latents": drawn, "to_decode": latents, "decoded": vae.decode(latents / vae.config.scaling_factor + shift).sample}
    return {f"vae.{name}": tensor.clone() for name, tensor in tensors.items()}


def schedule_tensors() -> dict[str, torch.Tensor]:
    tensors = {}
    for name, config in SCHEDULES.items():
        for zero in (False, True):
            schedule = DDPMScheduler(**config, rescale_betas_zero_snr=zero)
            prefix = f"{name}.zero" if zero else name
            times = torch.arange(len(schedule))
            tensors |= {f"{prefix}.betas": schedule.betas, f"{prefix}.alphas_cumprod": schedule.alphas_cumprod}
            tensors |= {f"{prefix}.snr": compute_snr(schedule, times)}
    latents, noise, times = random(1, 4, 2, 2, 3), random(2, 4, 2, 2, 3), torch.tensor([0, 1, 500, 999])
    schedule = DDPMScheduler(**SCHEDULES["scaled_linear"])
    noisy, velocity = schedule.add_noise(latents, noise, times), schedule.get_velocity(latents, noise, times)
    return tensors | {"latents": latents, "noise": noise, "timesteps": times, "noisy": noisy, "velocity": velocity}


@torch.no_grad()
def unet_tensors(pipeline, family: str) -> dict[str, torch.Tensor]:
    """Three timesteps at 8 x 8, and one at 7 x 9, whose sides no block halves evenly."""
    unet, seed = pipeline.unet, 500 + FAMILIES.index(family)
    states = random(seed, 3, 77, unet.config.cross_attention_dim)
    tensors, condition = {"states": states}, {}
    if family == "sdxl":
        ids = torch.tensor([[64.0, 80, 0, 8, 64, 64], [100, 64, 3, 0, 64, 64], [64, 64, 0, 0, 64, 72]])
        condition = {"text_embeds": random(seed + 1, 3, 16), "time_ids": ids}
        tensors |= {"pooled": condition["text_embeds"], "time_ids": ids}
    for name, times, height, width in (("even", [0, 500, 999], 8, 8), ("odd", [37], 7, 9)):
        sample, count = random(seed + height, len(times), 4, height, width), len(times)
        added = {"added_cond_kwargs": {key: tensor[:count] for key, tensor in condition.items()}} if condition else {}
        output = unet(sample, torch.tensor(times), states[:count], **added).sample
        tensors |= {f"{name}.sample": sample, f"{name}.timesteps": torch.tensor(times), f"{name}.output": output}
    return {f"unet.{name}": tensor for name, tensor in tensors.items()}


def write_family(family: str) -> None:
    folder = DIFFUSION / family
    write_rows(family)
    write_adapters(family)
    pipeline = load_pipeline(family)
    tensors = text_tensors(pipeline) | vae_tensors(pipeline.vae, 700) | unet_tensors(pipeline, family)
    tensors |= sampler_tensors(pipeline, family) | image_of_pipeline(pipeline, CAPTIONS[0])
    for case in ("attention", "conv"):
        tensors |= gradient_tensors(family, case)
        tensors |= train_case(family, case)
    save(tensors, folder / "expected.safetensors")
    print_size(folder)


def check_stability() -> None:
    for family in FAMILIES:
        for case in ("attention", "conv"):
            single, double = (train_case(family, case, dtype) for dtype in (torch.float32, torch.float64))
            worst = {
                key: ((single[key].double() - double[key].double()).abs().max() / double[key].abs().max()).item() for key in single
            }
            tensor = max(worst, key=worst.get)
            print(f"{family} {case}: {tensor} moves by {worst[tensor]:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stability", action="store_true")
    be_quiet()
    one_thread()
    if parser.parse_args().stability:
        check_stability()
        return
    write_models()
    save(schedule_tensors(), DIFFUSION / "schedules.safetensors")
    write_json(DIFFUSION / "schedules.json", SCHEDULES)
    wide = AutoencoderKL.from_pretrained(DIFFUSION / "vae16", torch_dtype=torch.float32)
    save(vae_tensors(wide, 800), DIFFUSION / "vae16" / "expected.safetensors")
    write_json(DIFFUSION / "captions.json", CAPTIONS)
    for family in FAMILIES:
        write_family(family)
    write_versions(DIFFUSION, "transformers", "peft", "diffusers")


if __name__ == "__main__":
    main()
