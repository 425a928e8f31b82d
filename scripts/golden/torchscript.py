#!/usr/bin/env python3
"""Writes tests/data/torchscript: TorchScript modules of every kind, and LoRA training in eager Python on the same networks.

    peer/bin/python scripts/golden/torchscript.py [OUT]

`modules/<name>.pt` are networks with random weights, scripted or traced, without the debug records of torch.jit.save, which
are most of a file. `runs/<case>/` has the inputs of a training run of 20 steps (run.json, adapter/ in PEFT's format),
`expected.json` with its losses and `expected.safetensors` with the trained tensors, by eager Python: hooks that add
scale · B A x, or torch.func.functional_call with W + scale · B A where an operation hides W.
"""
import json
import os
import sys
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")

import torch
import torch.nn.functional as F
import torchscript_guards as guards
import torchscript_modules as modules
import transformers
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
VOCAB = modules.VOCAB
RANK = 3
ALPHA = 6
STEPS = 20
BATCH = 4
RATE = 1e-2
IDS = torch.arange(16).view(2, 8) % VOCAB
MASK = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])


class LogitsOf(torch.nn.Module):
    """A transformers model that takes and returns only tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def llama(attention="eager", tied=False):
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64, tie_word_embeddings=tied, attn_implementation=attention)  # fmt: skip
    return LogitsOf(transformers.LlamaForCausalLM(config)).eval()


def gpt2():
    config = transformers.GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=32, tie_word_embeddings=False)
    return LogitsOf(transformers.GPT2LMHeadModel(config)).eval()


def trace(module, *inputs):
    return torch.jit.trace(module, inputs or (IDS, MASK), check_trace=False)


def quantised():
    return torch.ao.quantization.quantize_dynamic(modules.LanguageModel(layers=1).eval(), {torch.nn.Linear}, dtype=torch.qint8)


def on_cuda(module):
    """Scripted with the device that it would have on a machine with a GPU."""
    module.device = torch.device("cuda:0")
    script = torch.jit.script(module)
    module.device = torch.device("cpu")
    return script


# name: (eager module, function that turns it into TorchScript)
MODULES = {
    "lm_scripted": (lambda: modules.LanguageModel(bias=True).eval(), torch.jit.script),
    "lm_traced": (lambda: modules.LanguageModel().eval(), trace),
    "llama_traced": (llama, trace),
    "llama_sdpa_traced": (lambda: llama("sdpa"), trace),
    "llama_tied_traced": (lambda: llama(tied=True), trace),
    "gpt2_traced": (gpt2, trace),
    "control_flow": (lambda: modules.ControlFlow().eval(), torch.jit.script),
    "tied_scripted": (lambda: modules.LanguageModel(layers=1, tied=True).eval(), torch.jit.script),
    "tied_traced": (lambda: modules.LanguageModel(layers=1, tied=True).eval(), trace),
    "dropout_scripted": (lambda: modules.LanguageModel(layers=1, dropout=0.3), torch.jit.script),
    "tuple_traced": (lambda: modules.Tuple().eval(), lambda m: trace(m, IDS, MASK, IDS)),
    "hidden": (lambda: modules.Hidden().eval(), torch.jit.script),
    "fast_path": (lambda: modules.FastPath().eval(), torch.jit.script),
    "weight_norm": (lambda: modules.WeightNorm().eval(), trace),
    "no_grad_part": (lambda: modules.NoGrad(True).eval(), torch.jit.script),
    "stored": (lambda: modules.Tiny().eval(), torch.jit.script),
    "perceptron": (lambda: modules.Perceptron().eval(), torch.jit.script),
    "perceptron_loss": (lambda: modules.PerceptronLoss().eval(), lambda m: trace(m, torch.randn(3, 6), torch.randn(3))),
    "vision": (lambda: modules.Vision().eval(), lambda m: trace(m, torch.randn(2, 3, 8, 8))),
    # modules that must be refused
    "bad_frozen": (lambda: modules.LanguageModel(layers=1).eval(), lambda m: torch.jit.freeze(torch.jit.script(m))),
    "bad_dropout_traced": (lambda: modules.LanguageModel(layers=1, dropout=0.3).train(), trace),
    "bad_autocast": (lambda: modules.Autocast().eval(), torch.jit.script),
    "bad_no_grad": (lambda: modules.NoGrad(False).eval(), torch.jit.script),
    "bad_counting": (lambda: modules.Counting().eval(), torch.jit.script),
    "bad_counting_tensor": (lambda: modules.CountingTensor().eval(), torch.jit.script),
    "bad_forking": (lambda: modules.Forking().eval(), torch.jit.script),
    "bad_baked": (lambda: modules.Baked().eval(), trace),
    "bad_quantised": (quantised, trace),
    # modules that use their weights in unusual ways (torchscript_guards.py)
    "cuda_traced": (lambda: modules.LanguageModel(layers=1).eval(), trace),
    "cuda_attributes": (lambda: guards.OnDevice().eval(), on_cuda),
    "long_positions": (lambda: guards.LongPositions().eval(), torch.jit.script),
    "one_hot": (lambda: guards.OneHot().eval(), torch.jit.script),
    "bad_classes": (lambda: guards.TokenClasses().eval(), torch.jit.script),
    "bad_chaotic": (lambda: guards.Chaotic().eval(), torch.jit.script),
    "bad_half_chaotic": (lambda: guards.HalfChaotic().eval().to(torch.bfloat16), torch.jit.script),
    "bad_not_finite": (lambda: guards.NotFinite().eval(), torch.jit.script),
    "autocast_traced": (lambda: guards.AutocastTraced().eval(), trace),
    "tied_bias": (lambda: guards.TiedBias(False).eval(), torch.jit.script),
    "tied_detached": (lambda: guards.TiedBias(True).eval(), torch.jit.script),
    "tied_rows": (lambda: guards.TiedRows().eval(), torch.jit.script),
    "turned": (lambda: guards.Turned().eval(), torch.jit.script),
    "bad_appending": (lambda: guards.Appending().eval(), torch.jit.script),
    "sequence_first": (lambda: guards.SequenceFirst().eval(), torch.jit.script),
    "two_heads": (lambda: guards.TwoHeads().eval(), torch.jit.script),
    "late": (lambda: guards.Late().eval(), torch.jit.script),
    "sees_padding": (lambda: guards.SeesPadding().eval(), torch.jit.script),
    "lm_bfloat16": (lambda: modules.LanguageModel().eval().to(torch.bfloat16), trace),
    "dropout_attention": (lambda: guards.DroppedAttention(), torch.jit.script),
    "deep_bfloat16": (lambda: modules.LanguageModel(layers=16).eval().to(torch.bfloat16), torch.jit.script),
}
# extra files of torch.jit.save, and replacements in the code for a module that was written on another machine
EXTRA_FILES = {"tied_bias": {"notes.txt": "kept through a merge"}}
EDITS = {"cuda_traced": (b'torch.device("cpu")', b'torch.device("cuda:0")')}


def save(script, file: Path):
    """Like torch.jit.save, without the records of source lines; code and pickles are deflated, except in one module (stored)."""
    plain = file.with_suffix(".tmp")
    torch.jit.save(script, str(plain), _extra_files=EXTRA_FILES.get(file.stem, {}))
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith(".debug_pkl") or "/traced_inputs" in entry.filename:
                continue
            name = file.stem + entry.filename[entry.filename.index("/"):]
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith((".py", ".pkl")) and file.stem != "stored" else zipfile.ZIP_STORED
            target.writestr(info, source.read(entry).replace(*EDITS.get(file.stem, (b"", b""))))
    plain.unlink()


def rows_of(seed: int, count: int):
    numbers = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(3, 13, (1,), generator=numbers))
        ids = torch.randint(1, VOCAB, (length,), generator=numbers).tolist()
        row = {"input_ids": ids}
        if i % 3 == 2:
            row["labels"] = [-100, -100] + ids[2:]
        rows.append(row)
    return rows


class HandWritten:
    """LoRA on an eager module: hooks on Linear, Conv1D and convolutions, a parametrised weight for a bare Parameter."""

    def __init__(self, module, names, dropout=0.0):
        self.module = module.requires_grad_(False)
        self.scale = ALPHA / RANK
        self.pairs = {}
        self.bare = {}
        numbers = torch.Generator().manual_seed(7)
        for name in names:
            part = dict(module.named_modules()).get(name)
            weight = part.weight if part is not None else dict(module.named_parameters())[name]
            if weight.dim() > 2:
                inputs = weight[0].numel()
                A = (torch.randn(RANK, *weight.shape[1:], generator=numbers) / inputs**0.5).requires_grad_(True)
                B = torch.randn(weight.shape[0], RANK, *[1] * (weight.dim() - 2), generator=numbers).div_(20).requires_grad_(True)
                self.pairs[name] = (A, B)
                part.register_forward_hook(self.convolution_hook(A, B))
                continue
            outputs, inputs = weight.shape[::-1] if isinstance(part, Conv1D) else weight.shape
            A = (torch.randn(RANK, inputs, generator=numbers) / inputs**0.5).requires_grad_(True)
            B = (torch.randn(outputs, RANK, generator=numbers) / 20).requires_grad_(True)
            self.pairs[name] = (A, B)
            if part is None:
                self.bare[name] = weight
            else:
                part.register_forward_hook(self.hook(A, B))

    def hook(self, A, B):
        return lambda part, inputs, output: (output + self.scale * (inputs[0].to(A.dtype) @ A.T @ B.T)).to(output.dtype)

    def convolution_hook(self, A, B):
        convolve = F.conv1d if A.dim() == 3 else F.conv2d
        return lambda part, inputs, output: output + self.scale * convolve(
            convolve(inputs[0], A, stride=part.stride, padding=part.padding, dilation=part.dilation), B)

    def __call__(self, *inputs):
        weights = {n: w + self.scale * self.pairs[n][1] @ self.pairs[n][0] for n, w in self.bare.items()}
        result = torch.func.functional_call(self.module, weights, inputs)
        return result["logits"] if isinstance(result, dict) else result[1] if isinstance(result, tuple) else result

    def parameters(self):
        return [tensor for pair in self.pairs.values() for tensor in pair]

    def tensors(self):
        named = {}
        for name, (A, B) in self.pairs.items():
            named[f"base_model.model.{name}.lora_A.weight"] = A.detach().clone()
            named[f"base_model.model.{name}.lora_B.weight"] = B.detach().clone()
        return named


def loss_of(network, rows, inputs):
    """Sum of the losses of the rows' supervised tokens, and their number: in one padded batch, or row by row without a mask."""
    if inputs == "ids" and len(rows) > 1:
        parts = [loss_of(network, [row], inputs) for row in rows]
        return sum(loss for loss, _ in parts), sum(count for _, count in parts)
    length = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        ids[i, :n] = torch.tensor(row["input_ids"])
        mask[i, :n] = 1
        labels[i, :n] = torch.tensor(row.get("labels", row["input_ids"]))
    logits = network(*{"ids": (ids,), "mask": (ids, mask), "labels": (ids, mask, labels)}[inputs])
    target = labels[:, 1:]
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, VOCAB).float(), target.reshape(-1), ignore_index=-100, reduction="sum")
    return loss, int((target != -100).sum())


def train(network, rows, inputs, gradients):
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.0)
    steps = []
    for step in range(STEPS):
        begin = step * BATCH % len(rows)
        loss, count = loss_of(network, rows[begin:begin + BATCH], inputs)
        optimizer.zero_grad()
        (loss / count).backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if step == 0:
            gradients.update({f"grad.{name}": tensor.grad.clone() / min(1.0, 1.0 / float(norm + 1e-6)) for name, tensor in named(network)})
        optimizer.step()
        steps.append({"step": step + 1, "loss": float(loss) / count, "grad_norm": float(norm)})
    return steps


def named(network):
    for name, (A, B) in network.pairs.items():
        yield f"{name}.lora_A.weight", A
        yield f"{name}.lora_B.weight", B


LINEARS = ["q_proj", "v_proj", "down"]
# case: (module, endings of the names of adapted modules, target_modules, inputs)
RUNS = {
    "lm_scripted": ("lm_scripted", LINEARS, LINEARS, "mask"),
    "lm_traced": ("lm_traced", LINEARS + ["head"], LINEARS + ["head"], "mask"),
    "llama_traced": ("llama_traced", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], "all-linear", "mask"),
    "llama_tied_traced": ("llama_tied_traced", ["q_proj", "lm_head"], ["q_proj", "lm_head"], "mask"),
    "gpt2_traced": ("gpt2_traced", ["c_attn", "c_proj"], ["c_attn", "c_proj"], "mask"),
    "control_flow": ("control_flow", ["q_proj", "extra"], ["q_proj", "extra"], "mask"),
    "tied_scripted": ("tied_scripted", ["q_proj", "head"], ["q_proj", "head"], "mask"),
    "tuple_traced": ("tuple_traced", ["v_proj"], ["v_proj"], "labels"),
    "hidden": ("hidden", ["mix", "blend", "up"], ["mix", "blend", "up"], "mask"),
    "autocast_traced": ("autocast_traced", ["q_proj", "extra"], ["q_proj", "extra"], "mask"),
    "cuda_traced": ("cuda_traced", LINEARS, LINEARS, "mask"),
    "lm_bfloat16": ("lm_bfloat16", LINEARS + ["head"], LINEARS + ["head"], "mask"),
    "tied_bias": ("tied_bias", ["mix"], ["mix"], "ids"),
    "tied_rows": ("tied_rows", ["first", "second"], ["first", "second"], "ids"),
    "fast_path": ("fast_path", ["linear1", "linear2", "self_attn.in_proj_weight"], ["linear1", "linear2", "in_proj_weight"], "ids"),
}


def adapter_config(module, targets):
    return {
        "peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": targets,
        "base_model_name_or_path": module}  # fmt: skip


def write_run(out: Path, case: str, eager: dict, rows: list):
    module, endings, targets, inputs = RUNS[case]
    network_module = eager[module]
    everything = [n for n, _ in network_module.named_modules()] + [n for n, p in network_module.named_parameters() if p.dim() == 2]
    names = [name for name in everything if any(name == e or name.endswith("." + e) for e in endings)]
    network = HandWritten(network_module, names)
    folder = out / "runs" / case
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    save_file(network.tensors(), folder / "adapter" / "adapter_model.safetensors")
    spelt = targets if targets != "all-linear" else sorted(endings)
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter_config(module, spelt), indent=1) + "\n")
    model = {"path": f"../../modules/{module}.pt", "trust_torchscript": True}
    if inputs == "labels":
        model["output"] = "1"
    run = {
        "model": model,
        "adapter": adapter_config(module, targets) | {"init_from": "adapter"},
        "data": {"train": [{"path": "../../rows.jsonl", "format": "tokens"}], "eval": [{"path": "../../eval.jsonl", "format": "tokens"}],
                 "shuffle": False},
        "training": {"max_steps": STEPS, "per_device_train_batch_size": BATCH, "learning_rate": RATE, "lr_scheduler_type": "constant",
                     "weight_decay": 0.0, "logging_steps": 1},
        "output_dir": "out"}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    gradients = {}
    with torch.no_grad():
        start = [float(loss_of(network, [row], inputs)[0]) / loss_of(network, [row], inputs)[1] for row in rows_of(2, 8)]
    steps = train(network, rows, inputs, gradients)
    with torch.no_grad():
        total, count = 0.0, 0
        for row in rows_of(2, 8):
            loss, number = loss_of(network, [row], inputs)
            total, count = total + float(loss), count + number
    (folder / "expected.json").write_text(json.dumps({"steps": steps, "start_documents": start, "eval_loss": total / count}, indent=1) + "\n")
    save_file(gradients | {f"trained.{name[17:]}": tensor for name, tensor in network.tensors().items()}, folder / "expected.safetensors")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests/data/torchscript"
    (out / "modules").mkdir(parents=True, exist_ok=True)
    eager = {}
    for i, (name, (make, convert)) in enumerate(MODULES.items()):
        torch.manual_seed(i)
        eager[name] = make()
        save(convert(eager[name]), out / "modules" / f"{name}.pt")
    for file, seed, count in (("rows.jsonl", 1, 40), ("eval.jsonl", 2, 8)):
        (out / file).write_text("".join(json.dumps(row) + "\n" for row in rows_of(seed, count)))
    for case in RUNS:
        write_run(out, case, eager, rows_of(1, 40))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    (out / "VERSIONS.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
