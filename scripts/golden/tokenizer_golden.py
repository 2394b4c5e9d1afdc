"""Writes internal/tokenizer/testdata/<kind>/{tokenizer.json,golden.json}: small tokenizers, trained on
our own corpus with the pipelines of well-known families, and the ids and texts that the
tokenizers package gives for the corpus.

    python scripts/golden/tokenizer_golden.py

Needs tokenizers and transformers.
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
import tokenizers

from tokenizer_corpus import texts

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/tokenizer/testdata"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = r'''[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'''
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def split(regex, behavior="isolated"):
    return pre_tokenizers.Split(Regex(regex), behavior, invert=False)


def byte_level(pre, normalizer=None, vocab=900, ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre
    if normalizer:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=vocab, show_progress=False, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def plain_bytes():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def sentencepiece(normalizer, pre, decoder):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizer
    # Training wants words; the finished tokenizer splits as `pre` says.
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=900, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, limit_alphabet=200))
    model = json.loads(t.to_str())
    model["pre_tokenizer"] = json.loads(pre.__getstate__()) if pre else None
    # The byte tokens are ordinary entries of the vocabulary, not added tokens.
    model["added_tokens"] = [a for a in model["added_tokens"] if a["content"] not in BYTES]
    t = Tokenizer.from_str(json.dumps(model))
    t.decoder = decoder
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t


def build():
    kinds = {}
    kinds["gpt2"] = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    kinds["gpt2-prefix"] = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    kinds["smollm"] = byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    t = kinds["llama3"] = byte_level(pre_tokenizers.Sequence([split(LLAMA3), plain_bytes()]), ignore_merges=True)
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single="<|im_start|> $A", pair="<|im_start|> $A <|im_start|> $B", special_tokens=[("<|im_start|>", 1)])])
    kinds["qwen2"] = byte_level(pre_tokenizers.Sequence([split(QWEN2), plain_bytes()]), normalizer=normalizers.NFC())
    kinds["o200k"] = byte_level(pre_tokenizers.Sequence([split(O200K), plain_bytes()]))
    kinds["deepseek"] = byte_level(pre_tokenizers.Sequence([split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), plain_bytes()]))
    spaces = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    kinds["llama2"] = sentencepiece(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, spaces)
    kinds["mistral"] = sentencepiece(None, pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False), spaces)
    kinds["metaspace"] = sentencepiece(normalizers.NFKC(), pre_tokenizers.Metaspace(), decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]))
    kinds["gemma"] = sentencepiece(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]))
    words = Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous")])
    words.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    words.train_from_iterator(texts(), trainers.WordLevelTrainer(vocab_size=400, show_progress=False, special_tokens=["<unk>", "<s>"]))
    kinds["words"] = words
    for t in kinds.values():
        t.add_tokens([
            AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False), AddedToken("word", single_word=True, normalized=True),
            AddedToken("<Norm>", normalized=True), AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False), AddedToken("<thi", normalized=False),
        ])
    return kinds


def main():
    corpus = texts()
    for kind, t in build().items():
        rnd = random.Random(7)
        folder = OUT / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(t.to_str(pretty=False), encoding="utf-8")
        rows = []
        for text in corpus:
            ids = t.encode(text, add_special_tokens=False).ids
            rows.append({"text": text, "ids": ids, "special": t.encode(text).ids, "decoded": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids)})
        # Decoding ids that no text gives: cut characters, odd orders.
        cuts = []
        for _ in range(60):
            ids = [rnd.randrange(t.get_vocab_size()) for _ in range(rnd.randrange(1, 12))]
            cuts.append({"ids": ids, "decoded": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids)})
        golden = {"made_by": "scripts/golden/tokenizer_golden.py", "tokenizers": tokenizers.__version__, "vocab_size": t.get_vocab_size(), "encode": rows, "decode": cuts}
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=True), encoding="utf-8")
        print(kind, t.get_vocab_size())


if __name__ == "__main__":
    main()
