"""Writes tests/data/old_peft/trl-VERSION: the adapter of two steps of TRL's SFTTrainer, with the files that it saves next to it.

    python scripts/golden/trl_adapter.py       # after old_peft.py, whose base it trains on; needs trl and datasets

training_args.bin, which only torch can read, is replaced by an empty file: no program may open it.
"""

import shutil

import peft
import tokenizers
import torch
import transformers
import trl
from datasets import Dataset
from old_peft import TARGETS, load_base, write_expected
from peft import LoraConfig, PeftModel
from small_adapters import DATA, VOCABULARY, mean_loss, tidy
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

BASE = DATA / "old_peft" / "llama"
FOLDER = DATA / "old_peft" / f"trl-{trl.__version__}"


def word_tokenizer() -> PreTrainedTokenizerFast:
    words = tokenizers.models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(words), eos_token="w2", pad_token="w0", bos_token="w1")


def train(output) -> None:
    rows = Dataset.from_list([{"input_ids": list(range(3, 20))}, {"input_ids": list(range(10, 39))}] * 4)
    arguments = SFTConfig(
        output_dir=str(output), max_steps=2, per_device_train_batch_size=2, learning_rate=0.3, report_to=[], use_cpu=True, bf16=False,
        save_strategy="no", dataset_kwargs={"skip_prepare_dataset": True}, seed=3,
    )  # fmt: skip
    adapter = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=3, target_modules=TARGETS, modules_to_save=["lm_head"])
    trainer = SFTTrainer(load_base(BASE), arguments, train_dataset=rows, processing_class=word_tokenizer(), peft_config=adapter)
    trainer.train()
    trainer.save_model()


def main() -> None:
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    folder = FOLDER / "sft"
    train(folder)
    loss = mean_loss(PeftModel.from_pretrained(load_base(BASE), folder).eval())
    tidy(folder)
    (folder / "training_args.bin").write_bytes(b"")
    write_expected(FOLDER, {"sft": {"base": "llama", "loss": loss, "folder": "sft"}}, peft, torch, transformers, trl)


if __name__ == "__main__":
    main()
