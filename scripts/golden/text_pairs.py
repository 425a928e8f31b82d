"""Writes tests/data/classification/pairs: two small tokenizers like those of BERT and RoBERTa, and the ids that `tokenizers` gives to
texts and pairs of texts, cut to several lengths as by transformers' truncation=True (the longest first).

    python text_pairs.py
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "classification" / "pairs"
WORDS = ["a", "cat", "dog", "sat", "ran", "the", "mat", "##s", "##ly", "quick", ".", ",", "un", "##able"]
TEXTS = [("the cat sat", None), ("the quick dogs ran , quickly .", None), ("a", "the mat"), ("the cat sat .", "dogs ran"), ("", "cat"),
         ("cat", ""), ("the the the the the the the", "a cat"), ("a", "dog dog dog dog dog dog dog dog"), ("unable cats", "unable dogs ran .")]  # fmt: skip
LENGTHS = [2, 4, 5, 6, 7, 8, 11, 64]


def word_pieces(specials: list[str]) -> Tokenizer:
    vocabulary = {token: id for id, token in enumerate(specials + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=specials[1]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(specials)
    return tokenizer


def bert() -> Tokenizer:
    tokenizer = word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])  # fmt: skip
    return tokenizer


def old_bert() -> Tokenizer:
    tokenizer = bert()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def roberta() -> Tokenizer:
    tokenizer = word_pieces(["<pad>", "<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2), add_prefix_space=False)
    return tokenizer


def rows_of(tokenizer: Tokenizer) -> list[dict]:
    rows = []
    for length in LENGTHS:
        tokenizer.enable_truncation(length)
        for text, pair in TEXTS:
            if length < tokenizer.num_special_tokens_to_add(pair is not None):
                continue
            encoding = tokenizer.encode(text, pair)
            rows.append({"text": text, "text_pair": pair, "max_length": length, "ids": encoding.ids, "types": encoding.type_ids})
    return rows


def main() -> None:
    expected = {}
    for make in (bert, old_bert, roberta):
        tokenizer = make()
        folder = DATA / make.__name__
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        expected[make.__name__] = rows_of(tokenizer)
    text = json.dumps(expected, separators=(",", ":")).replace("},{", "},\n{")
    (DATA / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
