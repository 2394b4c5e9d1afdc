"""Writes internal/tokenizer/testdata/characters/transformers.json: what transformers.AutoTokenizer makes of
the files of tokenizer.Characters, which lie in that folder (the Go test compares them byte for byte).

    python scripts/golden/characters_golden.py

Needs transformers.
"""
import json
import pathlib

from transformers import AutoTokenizer

DIR = pathlib.Path(__file__).resolve().parents[2] / "internal/tokenizer/testdata/characters"
TEXTS = ["1+2=3", "<think>1+2\n=é</think><eos>", "x\"y ;", "", "007<pad>"]


def main():
    t = AutoTokenizer.from_pretrained(DIR)
    assert (t.eos_token_id, t.pad_token_id, t.unk_token_id) == (1, 0, 2), (t.eos_token_id, t.pad_token_id, t.unk_token_id)
    assert t.chat_template
    rows = []
    for text in TEXTS:
        ids = t(text)["input_ids"]
        rows.append({"text": text, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=True)})
    (DIR / "transformers.json").write_text(json.dumps(rows))
    print(rows)


if __name__ == "__main__":
    main()
