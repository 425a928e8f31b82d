"""Writes tests/data/diffusion/t5: a small encoder of T5 1.1 with its tokenizer, and what the pipelines of SD3 and FLUX make of captions.

SD3's CLIP encoders are both the small SDXL's second one, FLUX's is the small SDXL's first one. Of the text states only the positions of
POSITIONS are kept, counted from the end too.

    PYTHONPATH=<folder of diffusers and open_clip> python diffusion_t5.py
"""

import shutil

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, StableDiffusion3Pipeline
from diffusion_models import DIFFUSION, add_noise, stored
from llama_reference import be_quiet, one_thread
from quantized import save
from small_adapters import DATA, write_json
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel

FOLDER = DIFFUSION / "t5"
CAPTIONS = ["a photo of a cat", "", "The colours of a winter morning over the old harbour. " * 40]
POSITIONS = [0, 1, 2, 5, 9, 76, 77, 78, 80, 150, 200, -2, -1]
CONFIG = {
    "architectures": ["T5EncoderModel"], "d_ff": 32, "d_kv": 8, "d_model": 40, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new",
    "dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True,
    "is_gated_act": True, "layer_norm_epsilon": 1e-06, "model_type": "t5", "num_decoder_layers": 3, "num_heads": 3, "num_layers": 3,
    "pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "tie_word_embeddings": False,
    "use_cache": True, "vocab_size": 520,
}  # fmt: skip
TOKENIZER_CONFIG = {
    "clean_up_tokenization_spaces": True, "eos_token": "</s>", "extra_ids": 100, "model_max_length": 512, "pad_token": "<pad>",
    "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>",
}  # fmt: skip


def write_model() -> None:
    encoder, tokenizer = FOLDER / "text_encoder", FOLDER / "tokenizer"
    for folder in (encoder, tokenizer):
        folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(60)
    model = T5EncoderModel(T5Config(**CONFIG))
    add_noise(model, 60, 0.1)
    write_json(encoder / "config.json", CONFIG)
    tensors = stored(model)
    tensors.pop("encoder.embed_tokens.weight", None)
    save(tensors, encoder / "model.safetensors")
    shutil.copy(DATA / "tokenizer_json" / "t5.json", tokenizer / "tokenizer.json")
    write_json(tokenizer / "tokenizer_config.json", TOKENIZER_CONFIG)


def expected() -> dict[str, torch.Tensor]:
    xl, wide = DIFFUSION / "sdxl" / "model", {"torch_dtype": torch.float32}
    first = CLIPTextModel.from_pretrained(xl / "text_encoder", **wide)
    second = CLIPTextModelWithProjection.from_pretrained(xl / "text_encoder_2", **wide)
    names = CLIPTokenizer.from_pretrained(xl / "tokenizer"), CLIPTokenizer.from_pretrained(xl / "tokenizer_2")
    t5, pieces = T5EncoderModel.from_pretrained(FOLDER / "text_encoder", **wide), AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    common = {"transformer": None, "vae": None, "scheduler": FlowMatchEulerDiscreteScheduler()}
    sd3 = StableDiffusion3Pipeline(
        **common, text_encoder=second, tokenizer=names[1], text_encoder_2=second, tokenizer_2=names[1], text_encoder_3=t5,
        tokenizer_3=pieces,
    )  # fmt: skip
    flux = FluxPipeline(**common, text_encoder=first, tokenizer=names[0], text_encoder_2=t5, tokenizer_2=pieces)
    states, _, pooled, _ = sd3.encode_prompt(CAPTIONS, None, None, device=torch.device("cpu"), do_classifier_free_guidance=False)
    tensors = {"sd3.states": states[:, POSITIONS], "sd3.pooled": pooled}
    states, pooled, _ = flux.encode_prompt(CAPTIONS, None, device=torch.device("cpu"))
    tensors |= {"flux.states": states[:, POSITIONS], "flux.pooled": pooled}
    ids = pieces(CAPTIONS, padding="max_length", max_length=512, truncation=True, return_tensors="pt").input_ids
    return tensors | {"ids": ids, "positions": torch.tensor(POSITIONS)}


def main() -> None:
    be_quiet()
    write_model()
    with one_thread(), torch.no_grad():
        save(expected(), FOLDER / "expected.safetensors")
    write_json(FOLDER / "captions.json", CAPTIONS)


if __name__ == "__main__":
    main()
