#!/usr/bin/env python3
"""Makes tests/data/tokenizer_keys: what AutoTokenizer of transformers makes of folders whose files say something of their own.

    cases.json   "texts", and of each case the vocabulary's file (of tests/data/tokenizer_json and tests/data/tokenizer), what is changed in
                 it, the other files, and for each text "ids" (tokenizer(text)), "plain" (split_special_tokens, nothing around; null where it
                 is "ids") and "text" (decode of "ids"; null where it is the text), with "bos", "eos" and "named", the tokens with a role
    keys.json    every key that a tokenizer's class of transformers takes, by file: the keys that our reader must know

Needs: scripts/golden/requirements.txt. Usage: tokenizer_keys.py [output folder]
"""

import inspect
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import transformers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.models.auto import tokenization_auto  # noqa: E402

DATA = pathlib.Path(__file__).parents[2] / "tests/data"
TEXTS = [
    "Hello World", "  two  spaces and\ta tab", "Café déjà Ünïcode", "日本語 and 中文", "12 apples, 345.6!", "don't stop .", "½ cup",
    "<s>a</s> b", "[CLS] x [SEP] y", "<|endoftext|>x <|im_start|>user", "<mask> m  <mask>", "<new> n <New>", "a <image> b", "",
    "<start_of_turn>hi<end_of_turn>\n", " x<|eot_id|> y",
]


def token(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True, **flags}


def added(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


def cases():
    """name, vocabulary, tokenizer_config.json, and perhaps other files and changes of the vocabulary's file."""
    bert = {"tokenizer_class": "BertTokenizer"}
    yield "bert", "bert.json", bert, {}
    for key, values in {"do_lower_case": [False, True], "strip_accents": [False, True, None], "tokenize_chinese_chars": [False]}.items():
        for value in values:
            yield f"bert {key} {value}", "bert.json", {**bert, key: value}, {}
            yield f"bert_cased {key} {value}", "bert_cased.json", {**bert, key: value}, {}
    yield "bert cased accents", "bert.json", {**bert, "do_lower_case": False, "strip_accents": True}, {}
    yield "bert by another name", "bert.json", {"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}, {}
    yield "bert of no class", "bert.json", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}, {}
    yield "bert by an old name", "bert.json", {"tokenizer_class": "ElectraTokenizer", "do_lower_case": False}, {}
    yield "bert of an unknown class", "bert.json", {"tokenizer_class": "YosoTokenizer", "do_lower_case": False}, {}
    yield "bert by its model", "bert_cased.json", None, {"config.json": {"model_type": "bert"}}
    yield "bert by its model's key", "bert.json", {"do_lower_case": False}, {"config.json": {"model_type": "x", "tokenizer_class": "BertTokenizer"}}
    yield "bert with other ends", "bert.json", {**bert, "cls_token": "[MASK]", "sep_token": "[CLS]"}, {}
    yield "modernbert", "bert.json", {**bert, "do_lower_case": False}, {"config.json": {"model_type": "modernbert"}}

    gpt2 = {"tokenizer_class": "GPT2Tokenizer"}
    for kind in ("gpt2", "smollm", "llama3", "neox"):
        yield f"gpt2 class of {kind}", f"{kind}.json", gpt2, {}
    yield "gpt2 with a space", "gpt2.json", {**gpt2, "add_prefix_space": True}, {}
    yield "a space of no class", "gpt2.json", {"add_prefix_space": True}, {}
    yield "gpt2 add_bos_token", "gpt2.json", {**gpt2, "add_bos_token": True, "add_eos_token": True}, {}
    yield "gpt2 by its model", "smollm.json", None, {"config.json": {"model_type": "gpt2"}}
    yield "gpt2 null", "gpt2.json", {**gpt2, "bos_token": None}, {}
    yield "neox", "neox.json", {"tokenizer_class": "GPTNeoXTokenizerFast", "add_prefix_space": True}, {}
    yield "neox drops what stands around", "llama3.json", {"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True}, {}
    for space in (False, True):
        yield f"roberta {space}", "roberta.json", {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": space}, {}
    yield "bart", "roberta.json", {"tokenizer_class": "BartTokenizerFast", "mask_token": added("<mask>", lstrip=True)}, {}
    yield "qwen2", "qwen2.json", {"tokenizer_class": "Qwen2Tokenizer"}, {}
    yield "qwen2 of another vocabulary", "llama3.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|eot_id|>"}, {}
    yield "qwen2 by its model", "smollm.json", {"tokenizer_class": "LlamaTokenizer"}, {"config.json": {"model_type": "qwen2"}}
    yield "qwen3", "qwen2.json", {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "add_bos_token": False, "errors": "replace"}, \
        {"config.json": {"model_type": "qwen3"}}

    for kind in ("llama2", "mistral", "phi3", "gemma"):
        for name in ("LlamaTokenizer", "GemmaTokenizer", "PreTrainedTokenizerFast"):
            yield f"{kind} {name}", f"{kind}.json", {"tokenizer_class": name}, {}
    for legacy in (True, False, None):
        yield f"llama legacy {legacy}", "llama2.json", {"tokenizer_class": "LlamaTokenizer", "legacy": legacy}, {}
    yield "llama without a space", "llama2.json", {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": False}, {}
    yield "llama add_eos_token", "llama2.json", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "add_eos_token": True}, {}
    yield "llama of a byte level", "llama3.json", {"tokenizer_class": "LlamaTokenizerFast"}, {"config.json": {"model_type": "llama"}}
    yield "llama of mistral", "llama2.json", {"tokenizer_class": "LlamaTokenizer"}, {"config.json": {"model_type": "mistral"}}
    yield "llama of phi3", "phi3.json", {"tokenizer_class": "LlamaTokenizerFast"}, {"config.json": {"model_type": "phi3"}}
    yield "gemma by its model", "gemma.json", None, {"config.json": {"model_type": "gemma3_text"}}
    yield "gemma with images", "gemma.json", {"tokenizer_class": "GemmaTokenizer", "boi_token": "<image>", "bos_token": "<s>"}, {}

    for kind in ("xlmr", "t5"):
        for name in ("XLMRobertaTokenizer", "T5Tokenizer"):
            yield f"{kind} {name}", f"{kind}.json", {"tokenizer_class": name}, {}
    yield "xlmr without a space", "xlmr.json", {"tokenizer_class": "XLMRobertaTokenizerFast", "add_prefix_space": False}, {}

    plain_class = {"tokenizer_class": "PreTrainedTokenizerFast"}
    # Classes that models of a supported family name, or that are built of the same parts.
    yield "codegen", "gpt2.json", {"tokenizer_class": "CodeGenTokenizer", "add_bos_token": True}, {"config.json": {"model_type": "phi"}}
    yield "codegen keeps the post-processor", "llama3.json", {"tokenizer_class": "CodeGenTokenizer", "add_prefix_space": True}, {}
    yield "cohere by its model", "qwen2.json", None, {"config.json": {"model_type": "cohere2"}}
    yield "cohere", "llama3.json", {"tokenizer_class": "CohereTokenizerFast", "add_bos_token": True, "add_eos_token": False, "bos_token": "<|begin_of_text|>",
                                    "eos_token": "<|eot_id|>", "pad_token": "<pad>"}, {"config.json": {"model_type": "cohere"}}
    code = {"tokenizer_class": "CodeLlamaTokenizer"}
    yield "code llama", "llama2.json", code, {}
    yield "code llama with ends", "llama2.json", {**code, "add_bos_token": False, "add_eos_token": True, "add_prefix_space": False}, {}
    yield "code llama without infilling", "llama2.json", {**code, **dict.fromkeys(["prefix_token", "middle_token", "suffix_token", "eot_token", "fill_token"]),
                                                          "additional_special_tokens": ["<new>"]}, {}
    yield "qwen3.5", "qwen2.json", {"tokenizer_class": "Qwen2Tokenizer"}, {"config.json": {"model_type": "qwen3_5"}}
    yield "deberta", "gpt2.json", {"tokenizer_class": "DebertaTokenizer", "add_prefix_space": True}, {}
    yield "deberta of roberta", "roberta.json", {"tokenizer_class": "DebertaTokenizer", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}, {}
    for values in ({}, {"do_lower_case": True, "split_by_punct": True, "add_prefix_space": False}):
        yield f"deberta-v2 {len(values)}", "albert.json", {"tokenizer_class": "DebertaV2Tokenizer", **values}, {}
    yield "deberta-v2 of xlmr", "xlmr.json", {"tokenizer_class": "DebertaV2Tokenizer", "unk_token": "<unk>"}, {}
    for values in ({}, {"do_lower_case": False, "keep_accents": True, "add_prefix_space": False}):
        yield f"albert {len(values)}", "albert.json", {"tokenizer_class": "AlbertTokenizer", **values}, {}
    yield "albert keeps the post-processor", "xlmr.json", {"tokenizer_class": "AlbertTokenizer", "cls_token": "</s>", "sep_token": "<s>"}, {}
    yield "albert of a file without a post-processor", "albert.json", {"tokenizer_class": "AlbertTokenizer", "cls_token": "[SEP]", "sep_token": "[CLS]"}, \
        {"tokenizer.json": {"post_processor": None}}
    yield "camembert", "xlmr.json", {"tokenizer_class": "CamembertTokenizer"}, {}
    yield "camembert by its model", "albert.json", {"add_prefix_space": False}, {"config.json": {"model_type": "camembert"}}
    yield "mpnet", "bert.json", {"tokenizer_class": "MPNetTokenizer", "do_lower_case": False}, {}
    yield "clip", "clip.json", {"tokenizer_class": "CLIPTokenizer"}, {}
    yield "clip of another vocabulary", "smollm.json", {"tokenizer_class": "CLIPTokenizer"}, {}
    yield "herbert", "clip.json", {"tokenizer_class": "HerbertTokenizerFast", "unk_token": "<|endoftext|>"}, {"config.json": {"model_type": "bert"}}

    # Mistral's pattern: only for its older models with more than 100,000 tokens.
    fixed = {**plain_class, "fix_mistral_regex": True}
    yield "mistral's pattern", "llama3.json large", fixed, {"config.json": {"model_type": "mistral", "transformers_version": "4.57.1"}}
    yield "mistral's pattern not asked for", "llama3.json large", plain_class, {"config.json": {"model_type": "mistral"}}
    yield "mistral's pattern of a newer model", "llama3.json large", fixed, {"config.json": {"model_type": "mistral", "transformers_version": "5.0.0"}}
    yield "mistral's pattern of a release candidate", "llama3.json large", fixed, {"config.json": {"model_type": "mistral3", "transformers_version": "5.0.0rc1"}}
    yield "mistral's pattern of a small vocabulary", "llama3.json", fixed, {"config.json": {"model_type": "mistral"}}
    yield "mistral's pattern of another model", "llama3.json large", fixed, {}
    yield "mistral's pattern over Metaspace", "llama2.json large", {**fixed, "tokenizer_class": "LlamaTokenizer"}, {"config.json": {"model_type": "mistral"}}

    # Where BOS and EOS are named, and which file comes first.
    plain = {"tokenizer_class": "PreTrainedTokenizerFast"}
    decoder = {"added_tokens_decoder": {"601": token("<|end_of_text|>")}}
    end, turn = {"eos_token": "<|end_of_text|>"}, {"eos_token": "<|eot_id|>"}
    for name, config, others in [
        ("map alone", plain, {"special_tokens_map.json": turn}),
        ("map over config", {**plain, **end}, {"special_tokens_map.json": turn}),
        ("decoder without map", {**plain, **end, **decoder}, {"special_tokens_map.json": turn}),
        ("decoder alone", {**plain, **decoder}, {"special_tokens_map.json": turn}),
        ("map of objects", plain, {"special_tokens_map.json": {"eos_token": token("<|eot_id|>"), "bos_token": token("<|begin_of_text|>")}}),
        ("map null", {**plain, **end}, {"special_tokens_map.json": {"eos_token": None}}),
        ("map without config", None, {"special_tokens_map.json": turn}),
        ("config over model", {**plain, **end}, {"config.json": {"model_type": "llama", "eos_token_id": 602}}),
        ("objects", {**plain, "eos_token": added("<|eot_id|>")}, {}),
        ("a new end", {**plain, "eos_token": "<new>", "pad_token": "<pad>"}, {}),
        ("additional", {**plain, "additional_special_tokens": ["<new>", "<image>"]}, {}),
        ("extra", {**plain, "extra_special_tokens": ["<new>", "<image>"]}, {}),
        ("extra by role", {**plain, "extra_special_tokens": {"image_token": "<image>", "new_token": "<new>"}}, {}),
        ("own roles", {**plain, "image_token": "<image>", "pad_token": "<new>"}, {}),
        ("additional in the map", plain, {"special_tokens_map.json": {"additional_special_tokens": ["<new>"], "eos_token": "<|eot_id|>"}}),
        ("added tokens", plain, {"added_tokens.json": {"<new>": 603, "<image>": 604}}),
        ("special added tokens", plain, {"added_tokens.json": {"<new>": 603}, "special_tokens_map.json": {"pad_token": "<new>"}}),
        ("added tokens beside a decoder", {**plain, **decoder}, {"added_tokens.json": {"<new>": 603}}),
        ("split", {**plain, "split_special_tokens": True}, {}),
        ("split with plain tokens", {**plain, "split_special_tokens": True}, {"added_tokens.json": {"<new>": 603}}),
        ("add_bos_token", {**plain, "add_bos_token": False}, {}),
        ("padding and truncation", plain, {"tokenizer.json": {
            "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"},
            "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}}}),
    ]:
        yield f"llama3 {name}", "llama3.json", config, others
    for name, flags in {"lstrip": {"lstrip": True}, "rstrip": {"rstrip": True}, "word": {"single_word": True}, "normalized": {"normalized": True},
                        "plain": {"special": False}, "plain normalized": {"special": False, "normalized": True}}.items():
        yield f"decoder {name}", "xlmr.json", {**plain, "added_tokens_decoder": {"400": token("<mask>", **flags), "401": token("<new>", **flags)}}, {}
        yield f"decoder {name} of a class", "bert.json", {**bert, "added_tokens_decoder": {"0": token("[PAD]"), "700": token("<new>", **flags)}}, {}
    for kind in ("bert", "word_level", "xlmr", "t5", "bpe_words"):
        yield f"clean up {kind}", f"{kind}.json", {**plain, "clean_up_tokenization_spaces": True}, {}

    # SentencePiece alone.
    llama = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}
    for legacy in (True, False, None):
        yield f"model legacy {legacy}", "bpe.model", {**llama, "legacy": legacy}, {}
    yield "model without a space", "bpe.model", {**llama, "add_prefix_space": False}, {}
    yield "model ends", "bpe.model", {**llama, "add_eos_token": True}, {}
    yield "model of no beginning", "bpe.model", {**llama, "add_bos_token": False}, {}
    yield "model other roles", "bpe.model", {**llama, "bos_token": "</s>", "eos_token": "<s>"}, {}
    yield "model map", "bpe.model", {**llama, "eos_token": "<s>"}, {"special_tokens_map.json": {"eos_token": "<new>"}, "added_tokens.json": {"<new>": 380}}
    yield "model decoder", "bpe.model", {**llama, "added_tokens_decoder": {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>"),
                                                                          "380": token("<new>", special=False)}}, {"special_tokens_map.json": {"eos_token": "<s>"}}
    yield "model new end", "bpe.model", {**llama, "eos_token": "<new>"}, {}
    yield "model split", "bpe.model", {**llama, "split_special_tokens": True}, {}

    # Vocabularies of older folders: vocab.txt, or vocab.json and merges.txt. What "vocabulary" names is taken apart.
    yield "vocab.txt", "bert.json vocab", bert, {}
    yield "vocab.txt by its model", "bert_cased.json vocab", {"do_lower_case": False}, {"config.json": {"model_type": "bert"}}
    yield "vocab.txt map", "bert.json vocab", bert, {"special_tokens_map.json": {"cls_token": "[MASK]", "mask_token": "[CLS]"},
                                                     "added_tokens.json": {"<new>": 846}}
    yield "merges.txt", "gpt2.json vocab", None, {"config.json": {"model_type": "gpt2"}}
    yield "merges.txt with ends", "gpt2.json vocab", {**gpt2, "add_bos_token": True, "add_eos_token": True, "eos_token": "<new>"}, {}
    yield "merges.txt of roberta", "roberta.json vocab", {"tokenizer_class": "RobertaTokenizer"}, {}
    yield "merges.txt of qwen2", "qwen2.json vocab", {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": True, "bos_token": "<|im_start|>"}, \
        {"added_tokens.json": {"<|im_start|>": 1}}
    yield "merges.txt of neox", "neox.json vocab", {"tokenizer_class": "GPTNeoXTokenizer", "add_bos_token": True}, {}


def write_vocabulary(folder, model):
    """The model of a tokenizer.json as the files that older folders have."""
    if model["type"] == "WordPiece":
        (folder / "vocab.txt").write_text("".join(token + "\n" for token, _ in sorted(model["vocab"].items(), key=lambda entry: entry[1])))
        return
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")


def add_many_tokens(path):
    """Adds 100,000 tokens that no text has: some rules only apply to large vocabularies."""
    file = json.loads(path.read_text())
    vocab = file["model"]["vocab"]
    vocab.update({token["content"]: token["id"] for token in file["added_tokens"]})  # they keep their ids
    begin = max(vocab.values()) + 1
    vocab.update({f"\u0001{i}": begin + i for i in range(100_000)})
    path.write_text(json.dumps(file))


def write_folder(folder, vocabulary, config, others):
    vocabulary, _, form = vocabulary.partition(" ")
    source = DATA / ("tokenizer" if vocabulary.endswith(".model") else "tokenizer_json") / vocabulary
    if form == "vocab":
        write_vocabulary(folder, json.loads(source.read_text())["model"])
    else:
        shutil.copy(source, folder / ("tokenizer.model" if vocabulary.endswith(".model") else "tokenizer.json"))
    if form == "large":
        add_many_tokens(folder / "tokenizer.json")
    files = {} if config is None else {"tokenizer_config.json": config}
    files.update(others)
    for name, content in files.items():
        if name == "tokenizer.json":  # sections in place of the file's own
            content = {**json.loads((folder / name).read_text()), **content}
        (folder / name).write_text(json.dumps(content))
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text('{"model_type": "llama"}')
    return files


def expected(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    plain = [tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in TEXTS]
    decoded = [tokenizer.decode(row) for row in ids]
    shorter = lambda values, usual: [None if value == other else value for value, other in zip(values, usual)]  # noqa: E731
    return {"class": type(tokenizer).__name__, "ids": ids, "plain": shorter(plain, ids), "text": shorter(decoded, TEXTS),
            "bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "named": tokenizer.special_tokens_map}


def class_keys():
    """The parameters of every class of the registry: each may stand in a tokenizer_config.json."""
    keys = set()
    for name in sorted({name for name in tokenization_auto.TOKENIZER_MAPPING_NAMES.values() if name}):
        try:
            found = tokenization_auto.tokenizer_class_from_name(name)
        except ImportError:
            continue
        for base in found.__mro__ if isinstance(found, type) else []:
            if "__init__" in base.__dict__ and base is not object:
                keys.update(parameter.name for parameter in inspect.signature(base.__init__).parameters.values()
                            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY))
    # Those that the base classes take out of **kwargs, and what save_pretrained writes.
    keys.update("add_bos_token add_eos_token added_tokens_decoder additional_special_tokens auto_map backend chat_control_tokens chat_template "
                "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output extra_special_tokens fast_tokenizer_files files_loaded "
                "fix_mistral_regex init_inputs is_local local_files_only max_len max_length model_input_names model_max_length "
                "model_specific_special_tokens name_or_path pad_to_multiple_of pad_token_type_id padding_side processor_class response_schema "
                "response_template special_tokens_map_file split_special_tokens stride tokenizer_class tokenizer_file truncation_side "
                "truncation_strategy use_fast verbose".split())
    return sorted(key for key in keys if key != "self" and not key.startswith("_"))


def component_keys():
    """Type and key of every component in the files of tests/data/tokenizer_json."""
    keys = set()

    def collect(value, usual=""):
        if isinstance(value, list):
            for part in value:
                collect(part, usual)
        elif isinstance(value, dict):
            kind = value.get("type", usual)
            keys.update(f"{kind}:{key}" for key in value if key != "type" and kind)
            for part in value.values():
                if kind == "Sequence" and isinstance(part, list):
                    collect(part)

    for path in sorted((DATA / "tokenizer_json").glob("*.json")):
        if path.name == "texts.json" or path.name.endswith(".expected.json"):
            continue
        file = json.loads(path.read_text())
        for section, value in file.items():
            keys.add(f":{section}")
            collect(value, "AddedToken" if section == "added_tokens" else "")
    return sorted(keys)


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else DATA / "tokenizer_keys")
    target.mkdir(parents=True, exist_ok=True)
    result = []
    for name, vocabulary, config, others in cases():
        with tempfile.TemporaryDirectory() as folder:
            files = write_folder(pathlib.Path(folder), vocabulary, config, others)
            result.append({"name": name, "vocabulary": vocabulary, "files": files, **expected(folder)})
    versions = {"transformers": transformers.__version__}
    rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in result)
    (target / "cases.json").write_text(f'{{"versions":{json.dumps(versions)},"texts":{json.dumps(TEXTS)},"cases":[\n{rows}\n]}}\n')
    keys = {"versions": versions, "tokenizer_config.json": class_keys(), "tokenizer.json": component_keys()}
    (target / "keys.json").write_text(json.dumps(keys) + "\n")


if __name__ == "__main__":
    main()
