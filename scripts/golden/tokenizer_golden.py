#!/usr/bin/env python3
"""Writes tests/data/tokenizer: two small SentencePiece models and what PyPI's sentencepiece encodes with them.

Needs: sentencepiece (see "versions" in the file written). The text that the models are trained on and the strings
that are encoded are generated here, from a fixed seed. Usage: tokenizer_golden.py [output folder]
"""

import io
import json
import os
import pathlib
import random
import sys
import tempfile

import sentencepiece

WORDS = (
    "the a of and to in is was it for on with as at by from river stone light cloud small green silver bread night "
    "walks sings reads opens closes finds keeps little garden window morning letter answer question number please"
).split()
NAMES = "Ada Grace Alan Edsger Barbara Donald Özgür Zoë José Łukasz Søren Мария Иван Δημήτρης 明 花子".split()
RULES = [("ﬁ", "fi"), ("ﬂ", "fl"), ("½", "1/2"), ("\t", " "), ("\u00a0", " "), ("ＡＢ", "AB"), ("Ａ", "A"), ("\u200b", "")]


def sentences(count):
    chance = random.Random(1)
    for _ in range(count):
        words = [chance.choice(WORDS) for _ in range(chance.randint(4, 14))]
        words[0] = chance.choice(NAMES) if chance.random() < 0.3 else words[0].capitalize()
        if chance.random() < 0.3:
            words.insert(chance.randrange(len(words)), str(chance.randint(0, 2500)))
        yield " ".join(words) + chance.choice([".", "!", "?", "…", ", they said."])


def train(folder, **options):
    """The bytes of a model, without paths of this machine."""
    model = io.BytesIO()
    here = os.getcwd()
    os.chdir(folder)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(2000), model_writer=model, byte_fallback=True, num_threads=1, minloglevel=2,
            unk_id=0, bos_id=1, eos_id=2, pad_id=-1, **options)
    finally:
        os.chdir(here)
    return model.getvalue()


def models(folder):
    # Like Llama's: BPE, no normalisation, single digits, every space kept.
    yield "bpe", train(folder, model_type="bpe", vocab_size=380, normalization_rule_name="identity",
                       split_digits=True, remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
    # With a normalisation table, spaces squeezed, and symbols that are never split.
    rules = "".join(f"{' '.join(f'{ord(c):X}' for c in a)}\t{' '.join(f'{ord(c):X}' for c in b)}\n" for a, b in RULES)
    (pathlib.Path(folder) / "rules.tsv").write_text(rules, encoding="utf-8")
    yield "unigram", train(folder, model_type="unigram", vocab_size=360, normalization_rule_tsv="rules.tsv",
                           user_defined_symbols=["<|user|>", "<|user"])


FIXED = [
    "", " ", "  ", "   a   b   ", "hello", " hello", "hello ", "Hello, world!", "the river", "The stone is green.",
    "\n", "\n\n", "a\nb", "a\r\nb", "\t", "a\tb", "\x00", "a\x00b", "\x01\x02\x1f\x7f", "\u0080\u009f", "<s>", "</s>", "<unk>",
    "<s> the </s>", "<0x41>", "<|user|>", "a<|user|>b", "<|user", "<|use", "▁", "▁▁the▁river", "_", "0", "12345", "3.14159",
    "½ cup of ﬁne ﬂour", "ＡＢＡ", "ＡＡＢ", "a\u00a0b", "a\u200bb", "\u200b", "\ufeff", "\u2028", "é", "e\u0301", "ẹ\u0301", "Å\u030a",
    "日本語", "明るい", "中文字符测试", "한국어", "مرحبا بالعالم", "שלום עולם", "\u202eabc\u202c", "हिन्दी", "ไทย", "Ωμέγα", "Привет",
    "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "👍🏽", "\U0010ffff", "\U000e0001", "\uffff", "\ufffd", "\ue000", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "a" * 300, "ab " * 100, " " * 64, "{\"key\": [1, 2, null]}", "int main() { return 0; }", "    def f(x):\n        return x\n",
    "https://example.org/a?b=c&d=%20", "C:\\temp\\x", "'\"`´’“”", "—–-‐", "\u3000x\u3000", "ﷺ", "Ǆ", "ß", "İi̇ıI",
]
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz     ", "ABC xyz 0123456789 .,;:!?", "äöüßéèêñçøåłžőÄÖÜ ", "абвгдежзийклмнопрст ",
    "αβγδεζηθικλμ ", "אבגדהוזחט ", "ابتثجحخدذ ", "一丁七万三上下不世中 ", "あいうえおアイウエオ", "😀😁🎉🚀👍🏽\u200d❤️", "\n\t \u00a0\u2009\u3000a",
    "\x01\x02\x03\x0b\x0c\x1b\x7f\u0085x", "ﬁﬂ½ＡＢ\u200b e\u0301",
]


def strings():
    yield from FIXED
    chance = random.Random(2)
    for alphabet in ALPHABETS:
        for _ in range(10):
            yield "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 24)))
    for _ in range(40):
        yield "".join(chr(chance.choice([chance.randrange(0x20, 0x300), chance.randrange(0x300, 0xD800),
                                         chance.randrange(0xE000, 0x110000)])) for _ in range(chance.randint(1, 6)))
    yield from sentences(60)


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests/data/tokenizer")
    target.mkdir(parents=True, exist_ok=True)
    texts = list(strings())
    result = {"versions": {"sentencepiece": sentencepiece.__version__}, "texts": texts, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models(folder):
            (target / f"{name}.model").write_bytes(model)
            processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            ids = [processor.encode(text) for text in texts]
            result["models"][name] = {
                "pieces": processor.get_piece_size(), "bos": processor.bos_id(), "eos": processor.eos_id(),
                "ids": ids, "decoded": {str(i): text for i, text in enumerate(map(processor.decode, ids)) if text != texts[i]}}
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    (target / "golden.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
