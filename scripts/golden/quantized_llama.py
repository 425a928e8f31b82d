"""A tiny Llama with one layer whose Linear layers a tool packs, and the folder that holds the result.

<case>/config.json            with the tool's own quantization_config
<case>/model.safetensors      the packed Linear layers; embeddings, norms and head in the checkpoint's dtype
<case>/expected.safetensors   `<module>.weight` of KEPT: the values that the tool itself dequantises to, in its dtype; `input_ids` [T] and
                              `logits` [T, vocab]: float32, of a LlamaForCausalLM whose every weight has the dequantised values
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from llama_cases import randomize, shape
from quantized import print_size, save
from small_adapters import write_json
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = dict(vocab_size=32, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2)
KEPT = ("self_attn.k_proj", "mlp.down_proj")

# of one Linear: the tensors in the file (names within the module) and the dequantised weight [out, in]
Packed = tuple[dict[str, torch.Tensor], torch.Tensor]


def float_model(seed: int, dtype: torch.dtype, **changes) -> LlamaForCausalLM:
    model = LlamaForCausalLM(LlamaConfig(**shape(**SHAPE | changes), dtype=dtype)).eval()
    randomize(model, torch.Generator().manual_seed(seed))
    return model.to(dtype)


def linears(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear) and name != "lm_head"}


@torch.no_grad()
def logits_of(model: LlamaForCausalLM, seed: int) -> dict[str, torch.Tensor]:
    # Of a new model, because .to(dtype) has rounded the frequencies of the rotary embedding.
    exact = LlamaForCausalLM(model.config).float().eval()
    exact.load_state_dict(model.float().state_dict())
    ids = torch.randint(0, model.config.vocab_size, (15,), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "logits": exact(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]}


def plain(value):
    """Of json's types only."""
    return json.loads(json.dumps(value, default=str))


def write_packed(folder: Path, model: LlamaForCausalLM, pack: Callable[[str, torch.nn.Linear], Packed], config: dict) -> None:
    """Packs every Linear but the head (`pack`: a module's name and the module) and writes the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    expected = {}
    for name, module in linears(model).items():
        packed, values = pack(name, module)
        del tensors[f"{name}.weight"]
        tensors |= {f"{name}.{key}": value for key, value in packed.items()}
        if name.endswith(KEPT):
            expected[f"{name}.weight"] = values.clone()
        module.weight = torch.nn.Parameter(values.float())
    save(tensors, folder / "model.safetensors")
    model.config.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", written | {"architectures": ["LlamaForCausalLM"], "quantization_config": plain(config)})
    save(expected | logits_of(model, len(folder.name)), folder / "expected.safetensors")
    print_size(folder)
