"""Small tokenizers of every kind that published models use, trained at random with the package `tokenizers`: KINDS."""

import collections
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from sentencepiece_rules import charsmap
from tokenizer_texts import texts

GPT4O = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
             r"\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
RULES = [("ﬁ", "fi"), ("ﬂ", "fl"), ("½", "1/2"), ("\t", " "), ("\u00a0", " "), ("ＡＢ", "AB"), ("Ａ", "A"), ("\u200b", ""), ("é", "e"),
         ("e\u0301", "e"), ("क\u0301", "k"), ("©\u0301", "c"), ("가\u0301", "g")]
CORPUS = list(texts(1500, 3))


def alphabet(size):
    """The most frequent characters of the corpus: trainers would choose among equally frequent ones at random."""
    counts = collections.Counter("".join(CORPUS))
    return {"initial_alphabet": sorted(counts, key=lambda character: (-counts[character], character))[:size], "limit_alphabet": size}


def byte_level(size=600, specials=("<|endoftext|>",), **model):
    """A byte-level BPE trained on the corpus; its pre-tokenizer is given later."""

    def build(pre_tokenizer, normalizer=None):
        tokenizer = Tokenizer(models.BPE(**model))
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(specials), show_progress=False))
        return tokenizer

    return build


def then_bytes(*splits):
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def template(tokenizer, single, *names):
    return processors.TemplateProcessing(single=single, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names])


def gpt2():
    return byte_level()(pre_tokenizers.ByteLevel(add_prefix_space=False))


def roberta():
    tokenizer = byte_level(specials=("<s>", "<pad>", "</s>", "<unk>"))(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    return tokenizer


def llama3():
    tokenizer = byte_level(ignore_merges=True, specials=())(then_bytes(split(LLAMA3)))
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    around = template(tokenizer, "<|begin_of_text|> $A", "<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), around])
    return tokenizer


def qwen2():
    tokenizer = byte_level(specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))(then_bytes(split(QWEN2)), normalizers.NFC())
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    return tokenizer


def o200k():
    return byte_level()(then_bytes(split(GPT4O)))


def tekken():
    pattern = GPT4O.replace(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace(r"\p{N}{1,3}", r"\p{N}")
    return byte_level(specials=("<unk>", "<s>", "</s>", "[INST]"), ignore_merges=True)(then_bytes(split(pattern)))


def deepseek():
    return byte_level()(then_bytes(split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"[一-龥ࠀ-一가-퟿]+"),
                                   pre_tokenizers.Digits(individual_digits=True)))


def deepseek3():
    return byte_level()(then_bytes(split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3)))


def smollm():
    return byte_level(specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def falcon():
    return byte_level()(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")]))


def neox():
    tokenizer = byte_level()(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFC())
    tokenizer.add_tokens([AddedToken(" " * count, normalized=True) for count in range(24, 1, -1)])
    return tokenizer


def clip():
    tokenizer = byte_level(end_of_word_suffix="</w>", unk_token="<|endoftext|>", specials=("<|startoftext|>", "<|endoftext|>"))(
        pre_tokenizers.Sequence([split(CLIP, "removed", True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]))
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False)
    return tokenizer


def byte_normalizer():
    tokenizer = byte_level()(split(r"Ġ?[^Ġ]+|Ġ+"), normalizers.Sequence([normalizers.NFKC(), normalizers.ByteLevel()]))
    tokenizer.add_tokens([AddedToken("héllo wörld", normalized=True)])
    return tokenizer


def spm_bpe(edit, size=500):
    """A BPE as SentencePiece trains it, with a token for each byte; `edit` turns it into the file of a family."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(CORPUS[:1000:2], trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, show_progress=False, **alphabet(90)))
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if not token["content"].startswith("<0x")]
    file["model"]["byte_fallback"] = True
    edit(file)
    return Tokenizer.from_str(json.dumps(file))


def set_llama_decoder(tokenizer):
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = template(tokenizer, "<s> $A", "<s>")


def llama2():
    def edit(file):
        file["pre_tokenizer"] = None
        file["normalizer"] = json.loads(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]).__getstate__())
        file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]

    tokenizer = spm_bpe(edit)
    set_llama_decoder(tokenizer)
    return tokenizer


def mistral():
    tokenizer = spm_bpe(lambda file: file.update(pre_tokenizer=json.loads(
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False).__getstate__())))
    set_llama_decoder(tokenizer)
    tokenizer.add_special_tokens(["[INST]", "[/INST]"])
    return tokenizer


def phi3():
    tokenizer = llama2()
    tokenizer.add_special_tokens([AddedToken(name, rstrip=True, special=True, normalized=False)
                                  for name in ("<|user|>", "<|end|>", "<|assistant|>")])
    tokenizer.add_tokens([AddedToken("</s>", rstrip=True, normalized=False)])
    return tokenizer


def gemma():
    def edit(file):
        file["normalizer"] = json.loads(normalizers.Replace(" ", "▁").__getstate__())
        file["pre_tokenizer"] = json.loads(pre_tokenizers.Split(" ", "merged_with_previous").__getstate__())

    tokenizer = spm_bpe(edit)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = template(tokenizer, "<s> $A", "<s>")
    tokenizer.add_tokens([AddedToken("\n" * count, normalized=False) for count in range(2, 8)])
    tokenizer.add_tokens([AddedToken("▁" * count, normalized=False) for count in range(2, 8)])
    tokenizer.add_special_tokens(["<start_of_turn>", "<end_of_turn>"])
    return tokenizer


def unigram(normalizer, pre_tokenizer, specials, byte_tokens=False, size=400):
    """Random pieces and scores: the tests only need every path through a text to be weighed in the same way."""
    chance = random.Random(5)
    pieces = {name: 0.0 for name in specials}
    pieces.update({f"<0x{byte:02X}>": -12.0 for byte in range(256)} if byte_tokens else {})
    letters = [character for character in dict.fromkeys("".join(CORPUS[:200])) if character not in " \n\r\t"]
    for character in ["▁", *chance.sample(letters, 150)]:
        pieces.setdefault(character, round(chance.uniform(-9, -3), 3))
    while len(pieces) < size + (256 if byte_tokens else 0):
        text = chance.choice(CORPUS).replace(" ", "▁")
        begin = chance.randrange(max(1, len(text)))
        piece = text[begin:begin + chance.randint(2, 6)]
        if piece and "\n" not in piece:
            pieces.setdefault(piece, round(chance.uniform(-9, -1), 3))
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=specials.index("<unk>"), byte_fallback=byte_tokens))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def t5(rules=RULES):
    tokenizer = unigram(normalizers.Precompiled(charsmap(rules)), pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), ["<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([f"<extra_id_{i}>" for i in range(5)])
    tokenizer.post_processor = template(tokenizer, "$A </s>", "</s>")
    return tokenizer


def xlmr(rules=RULES):
    tokenizer = unigram(normalizers.Sequence([normalizers.Precompiled(charsmap(rules)), normalizers.Replace(Regex(" {2,}"), " ")]),
                        pre_tokenizers.Metaspace(), ["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    tokenizer.post_processor = template(tokenizer, "<s> $A </s>", "<s>", "</s>")
    return tokenizer


def albert(rules=RULES):
    tokenizer = unigram(normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Precompiled(charsmap(rules)), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Metaspace(), ["<pad>", "<unk>", "[CLS]", "[SEP]"])
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True, special=True, normalized=False)])
    tokenizer.post_processor = template(tokenizer, "[CLS] $A [SEP]", "[CLS]", "[SEP]")
    return tokenizer


def unigram_bytes():
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(right=False), normalizers.Replace(Regex(r" {2,}"), "▁")]
    tokenizer = unigram(normalizers.Sequence(steps), pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                        ["<unk>", "<s>", "</s>"], byte_tokens=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return tokenizer


def charsmap_bytes(rules=RULES):
    """With byte tokens every difference of the normalised text shows in the ids, unlike with <unk>. The same holds for the next two."""
    tokenizer = unigram(normalizers.Precompiled(charsmap(rules)), pre_tokenizers.Metaspace(), ["<unk>", "<s>", "</s>"], byte_tokens=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


def bert_bytes():
    return byte_level(320)(then_bytes(pre_tokenizers.BertPreTokenizer()), normalizers.BertNormalizer())


def stripped_bytes():
    return byte_level(320)(
        then_bytes(pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation()),
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]))


def corpus_words(tokenizer):
    """Counts of the words of the corpus, as the tokenizer splits it."""
    counts = collections.Counter()
    for text in CORPUS:
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)))
    return counts


def wordpiece(**options):
    """Random pieces: the trainer of `tokenizers` gives others in each run."""
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    chance = random.Random(7)
    words = sorted(corpus_words(tokenizer))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [mark + character for character in alphabet(150)["initial_alphabet"] for mark in ("", "##")]
    while len(pieces) < 1000:
        word = chance.choice(words)
        begin = chance.choice([0, chance.randrange(len(word))])
        pieces.append(("##" if begin else "") + word[begin:begin + chance.randint(2, 6)])
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer.model = models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=20)
    tokenizer.add_special_tokens(pieces[:5])
    return tokenizer


def bert():
    tokenizer = wordpiece()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = template(tokenizer, "[CLS] $A [SEP]", "[CLS]", "[SEP]")
    return tokenizer


def bert_cased():
    tokenizer = wordpiece(lowercase=False, strip_accents=False)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(CORPUS, trainers.WordLevelTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False))
    tokenizer.add_tokens([AddedToken("river", single_word=True), AddedToken("stone", single_word=True, lstrip=True, rstrip=True),
                          AddedToken("café")])
    return tokenizer


def affixed_bpe(counts, num_merges):
    """Vocabulary and merges of a BPE with ## before all but the first and </w> after the last character of a word."""
    usual = set(alphabet(80)["initial_alphabet"])
    words = {word: [("##" if i else "") + c + ("</w>" if i == len(word) - 1 else "") for i, c in enumerate(word)]
             for word in sorted(counts) if set(word) <= usual}
    vocab = dict.fromkeys(["<unk>", *sorted({symbol for symbols in words.values() for symbol in symbols})])
    merges = []
    for _ in range(num_merges):
        pairs = collections.Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += counts[word]
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append((left, right))
        vocab.setdefault(left + right[2:])
        for symbols in words.values():
            for i in range(len(symbols) - 2, -1, -1):
                if symbols[i:i + 2] == [left, right]:
                    symbols[i:i + 2] = [left + right[2:]]
    return {symbol: index for index, symbol in enumerate(vocab)}, merges


def bpe_words():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Split("e", "merged_with_next"),
        split("[aeiou]{2,}+", "contiguous", True)])
    vocab, merges = affixed_bpe(corpus_words(tokenizer), 200)
    tokenizer.model = models.BPE(vocab, merges, unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="##")
    tokenizer.decoder = decoders.BPEDecoder()
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


KINDS = [gpt2, roberta, llama3, qwen2, o200k, tekken, deepseek, deepseek3, smollm, falcon, neox, clip, byte_normalizer, llama2, mistral,
         phi3, gemma, t5, xlmr, albert, unigram_bytes, charsmap_bytes, bert, bert_cased, bert_bytes, word_level, stripped_bytes, bpe_words]


def specials_of(tokenizer):
    return [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.content.strip()]
