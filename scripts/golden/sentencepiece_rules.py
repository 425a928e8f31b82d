"""The compiled normalisation of a SentencePiece model, as tokenizer.json has it in Precompiled: used by tokenizer_kinds.py."""

import io
import pathlib
import tempfile

import sentencepiece


def fields(message):
    """Numbers and contents of the bytes fields of a Protocol Buffers message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 2:
            size = varint()
            yield tag >> 3, message[at:at + size]
            at += size
        elif tag & 7 == 0:
            varint()
        else:
            at += 4 if tag & 7 == 5 else 8


def charsmap(rules):
    """The rules as SentencePiece compiles them; None: its own nmt_nfkc."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"normalization_rule_name": "nmt_nfkc"}
        if rules:
            path = pathlib.Path(folder) / "rules.tsv"
            path.write_text("".join("\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule) + "\n" for rule in rules))
            options = {"normalization_rule_tsv": str(path)}
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d e"] * 100), model_writer=model, vocab_size=10,
                                                 hard_vocab_limit=False, minloglevel=2, **options)
    normalizer_spec = dict(fields(model.getvalue()))[3]
    return dict(fields(normalizer_spec))[2]
