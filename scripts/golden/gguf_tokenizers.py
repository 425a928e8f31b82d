"""The tokenizers of gguf_models.py: the keys that llama.cpp's converter writes for them, and the ids that their own package gives.

SentencePiece: tests/data/tokenizer/bpe.model. Byte-level BPE: the tokenizers of tests/data/tokenizer_json with the first merges only.
"""

import json

import sentencepiece
from gguf import GGUFWriter, TokenType
from sentencepiece import sentencepiece_model_pb2
from small_adapters import DATA
from tokenizers import Tokenizer

NUM_MERGES = 40
CHAT_TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{{ eos_token }}{% endfor %}"
TEXTS = ["", " ", "hello", " The river  is green.", "12345 don't", "a\n\nb\tc", "é 日本 🙂", "<|endoftext|> x"]


class SentencePiece:
    """As the converter's _create_vocab_sentencepiece and _set_vocab_sentencepiece."""

    def __init__(self):
        path = DATA / "tokenizer" / "bpe.model"
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.proto = sentencepiece_model_pb2.ModelProto()
        self.proto.ParseFromString(path.read_bytes())
        self.size = self.processor.vocab_size()

    def kind(self, i: int) -> TokenType:
        tests = {TokenType.UNKNOWN: self.processor.is_unknown, TokenType.CONTROL: self.processor.is_control,
                 TokenType.UNUSED: self.processor.is_unused, TokenType.BYTE: self.processor.is_byte}  # fmt: skip
        return next((kind for kind, test in tests.items() if test(i)), TokenType.NORMAL)

    def write(self, writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([self.processor.id_to_piece(i).encode() for i in range(self.size)])
        writer.add_token_scores([self.processor.get_score(i) for i in range(self.size)])
        writer.add_token_types([self.kind(i) for i in range(self.size)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(self.proto.normalizer_spec.add_dummy_prefix)
        writer.add_chat_template(CHAT_TEMPLATE)

    def encode(self, text: str) -> list[int]:
        """Without the ids of special tokens that the text spells."""
        return [1] + self.processor.encode(text)


class ByteLevel:
    def __init__(self, name: str, pre: str):
        self.pre = pre
        self.json = json.loads((DATA / "tokenizer_json" / f"{name}.json").read_text(encoding="utf-8"))
        model, added = self.json["model"], self.json["added_tokens"]
        specials = {token["content"] for token in added}
        model["merges"] = model["merges"][:NUM_MERGES]
        merged = {"".join(pair) if isinstance(pair, list) else pair.replace(" ", "") for pair in model["merges"]}
        kept = sorted((i, token) for token, i in model["vocab"].items() if (len(token) == 1 or token in merged) and token not in specials)
        model["vocab"] = {token: i for i, (_, token) in enumerate(kept)}
        for i, token in enumerate(added):
            token["id"] = len(kept) + i
        self.renumber_post_processor()
        self.size = len(kept) + len(added)
        self.tokenizer = Tokenizer.from_str(json.dumps(self.json))

    def renumber_post_processor(self) -> None:
        ids = {token["content"]: token["id"] for token in self.json["added_tokens"]}
        for part in (self.json["post_processor"] or {}).get("processors", []):
            for special in part.get("special_tokens", {}).values():
                special["ids"] = [ids[token] for token in special["tokens"]]

    def write(self, writer: GGUFWriter) -> None:
        """As the converter's get_vocab_base and gguf's SpecialVocab."""
        added = self.json["added_tokens"]
        tokens = list(self.json["model"]["vocab"]) + [token["content"] for token in added]
        kinds = [TokenType.NORMAL] * (len(tokens) - len(added))
        kinds += [TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED for token in added]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in self.json["model"]["merges"]])
        end = next(token["id"] for token in added if token["content"] in ("<|endoftext|>", "<|end_of_text|>"))
        writer.add_bos_token_id(end)
        writer.add_eos_token_id(end)
        if self.pre != "gpt-2":
            writer.add_pad_token_id(end)
            writer.add_add_bos_token(False)
        writer.add_chat_template(CHAT_TEMPLATE)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text).ids
