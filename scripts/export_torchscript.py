#!/usr/bin/env python3
"""Exports a Hugging Face causal language model as a TorchScript file that lora-train can adapt.

    python scripts/export_torchscript.py MODEL OUTPUT.pt [--attention eager|sdpa] [--dtype float32]

Requirements for any such file (--example shows in a few lines how to export your own network):
  * a network in evaluation mode (model.eval()): a trace keeps the dropout of the mode in which it was recorded;
  * for a trace, an example of at least 2 rows of at least 2 tokens, and a mask that hides something: numbers computed by Python
    become constants of the trace, and many operations treat a size of 1 differently;
  * no cache: use_cache=False;
  * no torch.autocast, torch.no_grad, torch.jit.freeze, torch.jit.fork or quantisation inside;
  * arguments with the names of the batch fields (input_ids, attention_mask, position_ids, token_type_ids), or model.inputs in the
    config, which names them in order.
"""
import argparse
import sys

EXAMPLE = '''
import torch
network.eval()                                   # your torch.nn.Module
torch.jit.save(torch.jit.script(network), "network.pt")          # where it can be scripted: branches and loops stay
ids = torch.randint(0, vocabulary, (2, 8))
mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
torch.jit.save(torch.jit.trace(network, (ids, mask)), "network.pt")   # else
'''


def logits_of(model):
    import torch

    class LogitsOf(torch.nn.Module):
        """Takes tensors and returns logits only, as a trace requires."""

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits

    return LogitsOf().eval()


def differs(network, script, vocabulary):
    """The largest difference between the trace and the network on shapes other than the example's."""
    import torch

    worst = 0.0
    for rows, length in ((1, 5), (3, 11), (4, 2)):
        ids = torch.randint(0, vocabulary, (rows, length))
        mask = torch.ones_like(ids)
        mask[-1, length // 2 + 1:] = 0
        with torch.no_grad():
            apart = (network(ids, mask) - script(ids, mask)).abs() * mask.unsqueeze(-1)
        worst = max(worst, float(apart.max()))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="folder of the model, or its name in the local Hugging Face cache")
    parser.add_argument("output", nargs="?", help="file to write, OUTPUT.pt")
    parser.add_argument("--attention", default="eager", choices=("eager", "sdpa"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--example", action="store_true", help="show how to export your own network")
    arguments = parser.parse_args()
    if arguments.example:
        print(EXAMPLE)
        return
    if arguments.output is None:
        parser.error("MODEL and OUTPUT.pt are required")
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        arguments.model, attn_implementation=arguments.attention, dtype=getattr(torch, arguments.dtype), local_files_only=True)
    network = logits_of(model)
    vocabulary = model.config.vocab_size
    ids = torch.randint(0, vocabulary, (2, 8))
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    script = torch.jit.trace(network, (ids, mask), check_trace=False)
    worst = differs(network, script, vocabulary)
    if worst > (1e-4 if arguments.dtype == "float32" else 0.1):
        sys.exit(f"the logits of the trace differ from the model's by {worst:.3g} on other shapes. Nothing was written.")
    torch.jit.save(script, arguments.output)
    print(f"wrote {arguments.output}; logits on other shapes differ by at most {worst:.3g}")
    print("lora-convert --rename '^model\\.=' gives adapters trained on it the names of the original model")


if __name__ == "__main__":
    main()
