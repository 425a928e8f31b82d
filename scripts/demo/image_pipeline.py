#!/usr/bin/env python3
"""Writes the small Stable Diffusion pipeline of the image demo, in diffusers' layout, without weights for its UNet.

    image_pipeline.py OUTPUT_DIR

lora-train trains the UNet. The other weights are not trained but computed here:
- text encoder: each word has a random vector, and every position after the words has the sum of their vectors.
- VAE: the encoder averages squares of 4 x 4 pixels to one latent of three channels, red, green and blue, from -1 (dark) to 1 (light). The
  decoder enlarges them smoothly and makes each nearly dark or light. So it suits drawings in plain colours only.
"""
import argparse
import array
import json
import pathlib
import random
import struct
import sys

from image_drawings import COLOURS, DARK, LIGHT, SHAPES, SIDE

HIDDEN = 32  # channels of the text's states
POSITIONS = 77
LATENTS = 3
CHANNELS = 6 * LATENTS  # of the VAE: for each colour x, x, -x, -x, HIGH, -HIGH, which are a group of its norms
HIGH = 100.0
LEVELS = 3  # resolutions of the VAE: 64, 32 and 16

UNET = {
    "_class_name": "UNet2DConditionModel", "sample_size": SIDE // 4, "in_channels": LATENTS, "out_channels": LATENTS,
    "block_out_channels": [32, 64, 64, 64], "layers_per_block": 2, "cross_attention_dim": HIDDEN, "attention_head_dim": 4,
    "norm_num_groups": 8,
}
VAE = {
    "_class_name": "AutoencoderKL", "block_out_channels": [CHANNELS] * LEVELS, "layers_per_block": 1, "norm_num_groups": LATENTS,
    "latent_channels": LATENTS, "scaling_factor": 1.0, "mid_block_add_attention": False, "use_quant_conv": False,
    "use_post_quant_conv": False, "down_block_types": ["DownEncoderBlock2D"] * LEVELS, "up_block_types": ["UpDecoderBlock2D"] * LEVELS,
}
TEXT_ENCODER = {
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": HIDDEN, "intermediate_size": HIDDEN,
    "num_attention_heads": 1, "num_hidden_layers": 1, "max_position_embeddings": POSITIONS, "hidden_act": "quick_gelu",
    "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
}
SCHEDULER = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
    "clip_sample": True,
}
INDEX = {
    "_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
}


class Weights:
    """float32 tensors by name, all of zeros at first."""

    def __init__(self):
        self.tensors = {}

    def add(self, name, *shape):
        count = 1
        for size in shape:
            count *= size
        self.tensors[name] = (shape, array.array("f", bytes(4 * count)))
        return self.tensors[name][1]

    def linear(self, name, size):
        """A square matrix; returns it as a list, row after row."""
        self.add(name + ".bias", size)
        return self.add(name + ".weight", size, size)

    def norm(self, name, size, value=1.0):
        self.add(name + ".weight", size)[:] = array.array("f", [value]) * size
        self.add(name + ".bias", size)

    def convolution(self, name, outputs, inputs, taps):
        """A 3 x 3 convolution. taps: {(output, input): {(row, column): value}}."""
        self.add(name + ".bias", outputs)
        weight = self.add(name + ".weight", outputs, inputs, 3, 3)
        for (output, source), kernel in taps.items():
            for (row, column), value in kernel.items():
                weight[((output * inputs + source) * 3 + row) * 3 + column] = value

    def save(self, path):
        header, place = {}, 0
        for name, (shape, values) in self.tensors.items():
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [place, place + 4 * len(values)]}
            place += 4 * len(values)
        text = json.dumps(header).encode()
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, values in self.tensors.values():
                if sys.byteorder == "big":
                    values = array.array("f", values)
                    values.byteswap()
                file.write(values.tobytes())


def bytes_as_characters():
    """The printable character that stands for each byte in the vocabularies of GPT-2 and CLIP."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def merges_of(words):
    """Pairs that byte-pair encoding joins, the most frequent one first, until each word is one token."""
    pieces = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges = []
    while any(len(word) > 1 for word in pieces):
        pairs = [pair for word in pieces for pair in zip(word, word[1:])]
        best = max(sorted(set(pairs)), key=pairs.count)
        merges.append(best)
        for word in pieces:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_tokenizer(folder):
    """Returns the tokens by id."""
    merges = merges_of(["a", *COLOURS, *SHAPES])
    characters = bytes_as_characters()
    tokens = characters + [character + "</w>" for character in characters] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    text = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)
    (folder / "merges.txt").write_text(text, encoding="utf-8")
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json",
               {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, "do_lower_case": True, **names})
    return tokens


def write_text_encoder(folder, tokens):
    """One layer. Channel 0 marks the start and the end of a text, and its attention is uniform over all other tokens so far."""
    weights, rng = Weights(), random.Random(3)
    embeddings = weights.add("text_model.embeddings.token_embedding.weight", len(tokens), HIDDEN)
    for number, token in enumerate(tokens):
        is_special = token.startswith("<|")
        embeddings[number * HIDDEN] = 8.0 if is_special else 0.0
        for i in range(1, HIDDEN):
            embeddings[number * HIDDEN + i] = rng.gauss(0, 0.3 if is_special else 1)
    positions = weights.add("text_model.embeddings.position_embedding.weight", POSITIONS, HIDDEN)
    for i in range(len(positions)):
        positions[i] = rng.gauss(0, 0.02)
    layer = "text_model.encoder.layers.0."
    for part, scale in (("q", 0), ("k", -1), ("v", 1), ("out", 4)):
        matrix = weights.linear(f"{layer}self_attn.{part}_proj", HIDDEN)
        for i in range(1 if part == "k" else HIDDEN):
            matrix[i * HIDDEN + i] = scale
    weights.tensors[layer + "self_attn.q_proj.bias"][1][0] = 100.0
    for part in ("fc1", "fc2"):
        weights.linear(f"{layer}mlp.{part}", HIDDEN)
    for name in (layer + "layer_norm1", layer + "layer_norm2", "text_model.final_layer_norm"):
        weights.norm(name, HIDDEN)
    write_json(folder / "config.json", TEXT_ENCODER | {"vocab_size": len(tokens)})
    weights.save(folder / "model.safetensors")


CENTRE = {(1, 1): 1.0}
MEAN_OF_FOUR = {(row, column): 0.25 for row in (0, 1) for column in (0, 1)}  # of a step of 2
SMOOTH = {(row, column): (1, 2, 1)[row] * (1, 2, 1)[column] / 16 for row in range(3) for column in range(3)}


def same_channels(kernel):
    """Each channel for itself. Constant ones keep their value at the edges too, where a kernel meets zeros."""
    return {(i, i): CENTRE if i % 6 >= 4 and kernel is SMOOTH else kernel for i in range(CHANNELS)}


def add_resnets(weights, name, count):
    """Residual blocks that add nothing."""
    for number in range(count):
        for part in ("1", "2"):
            weights.norm(f"{name}.resnets.{number}.norm{part}", CHANNELS)
            weights.convolution(f"{name}.resnets.{number}.conv{part}", CHANNELS, CHANNELS, {})


def add_groups(weights, name, scale, shift):
    """x, x, -x, -x of each colour, x = scale * input + shift, and constants that hardly let the norm depend on x."""
    taps = {}
    for colour in range(LATENTS):
        for i, sign in enumerate((1, 1, -1, -1)):
            taps[(6 * colour + i, colour)] = {(1, 1): sign * scale}
    weights.convolution(name, CHANNELS, LATENTS, taps)
    bias = weights.tensors[name + ".bias"][1]
    for colour in range(LATENTS):
        bias[6 * colour:6 * colour + 6] = array.array("f", [shift, shift, -shift, -shift, HIGH, -HIGH])


def add_norm_out(weights, name, slope, shifts):
    """slope * x + shift of the first two channels of each colour, which the norm has divided by the root of HIGH^2 / 3."""
    weights.norm(name, CHANNELS, 0.0)
    for colour in range(LATENTS):
        for i, shift in enumerate(shifts):
            weights.tensors[name + ".weight"][1][6 * colour + i] = slope * HIGH / 3 ** 0.5
            weights.tensors[name + ".bias"][1][6 * colour + i] = shift


def write_vae(folder):
    weights = Weights()
    # Pixels are given from -1 to 1.
    dark, light = 2 * DARK / 255 - 1, 2 * LIGHT / 255 - 1
    half, middle = (light - dark) / 2, (light + dark) / 2

    add_groups(weights, "encoder.conv_in", 1 / half, -middle / half)
    for level in range(LEVELS):
        add_resnets(weights, f"encoder.down_blocks.{level}", 1)
        if level + 1 < LEVELS:
            weights.convolution(f"encoder.down_blocks.{level}.downsamplers.0.conv", CHANNELS, CHANNELS, same_channels(MEAN_OF_FOUR))
    add_resnets(weights, "encoder.mid_block", 2)
    far = 20.0  # SiLU(y) is y there
    add_norm_out(weights, "encoder.conv_norm_out", 1.0, (far,))
    weights.convolution("encoder.conv_out", 2 * LATENTS, CHANNELS, {(i, 6 * i): CENTRE for i in range(LATENTS)})
    no_variance = -30.0
    weights.tensors["encoder.conv_out.bias"][1][:] = array.array("f", [-far] * LATENTS + [no_variance] * LATENTS)

    add_groups(weights, "decoder.conv_in", 1.0, 0.0)
    add_resnets(weights, "decoder.mid_block", 2)
    for level in range(LEVELS):
        add_resnets(weights, f"decoder.up_blocks.{level}", 2)
        if level + 1 < LEVELS:
            weights.convolution(f"decoder.up_blocks.{level}.upsamplers.0.conv", CHANNELS, CHANNELS, same_channels(SMOOTH))
    # SiLU(s (a x + 1)) / s - SiLU(s (a x - 1)) / s - 1 is about a x between -1 and 1, and -1 or 1 outside.
    slope, sharpness = 3.5, 4.0
    add_norm_out(weights, "decoder.conv_norm_out", slope * sharpness, (sharpness, -sharpness))
    taps = {(i, 6 * i + part): {(1, 1): sign * half / sharpness} for i in range(LATENTS) for part, sign in ((0, 1), (1, -1))}
    weights.convolution("decoder.conv_out", 3, CHANNELS, taps)
    weights.tensors["decoder.conv_out.bias"][1][:] = array.array("f", [middle - half] * 3)
    write_json(folder / "config.json", VAE)
    weights.save(folder / "diffusion_pytorch_model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=pathlib.Path)
    folder = parser.parse_args().output
    write_json(folder / "model_index.json", INDEX)
    write_json(folder / "unet" / "config.json", UNET)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_text_encoder(folder / "text_encoder", write_tokenizer(folder / "tokenizer"))
    write_vae(folder / "vae")


if __name__ == "__main__":
    main()
