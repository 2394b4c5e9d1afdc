"""The texts that the tokenizers are compared on: languages, code, emoji, numbers, odd spaces
and broken places. Written for grouse. `texts()` returns them in a fixed order."""
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parents[2] / "internal/tokenizer/testdata"

CODE = [
    'def add(a, b):\n    """Sum."""\n    return a + b\n\n\nif __name__ == "__main__":\n\tprint(add(1, 2))\n',
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; } // O(n)\r\n",
    "func main() {\n\tfmt.Println(\"hello, 世界\")\n\n\tos.Exit(1)\n}",
    "SELECT id, name FROM users WHERE age >= 18 AND name LIKE '%o''b%' ORDER BY id DESC;",
    '{"key": [1, 2.5e-3, null, true], "nested": {"a\\tb": "\\u00e9"}}',
    "<html><body class='x'>It's &amp; they'll</body></html>",
    "x = [i**2 for i in range(10) if i % 2 == 0]  # comment   \n\n\n   y = x[-1]",
    "#!/bin/sh\nset -eu\nfor f in *.txt; do mv -- \"$f\" \"${f%.txt}.md\"; done\n",
    "\\frac{a}{b} + \\sum_{i=1}^{n} x_i^2 = \\boxed{42}",
]
EMOJI = [
    "Hello 👋 world 🌍! 👩‍👩‍👧‍👦 family, flags 🇯🇵🇩🇪, skin 👍🏽 and ❤️.",
    "🤖🤖🤖 🎉",
    "no space🙂between😀words",
]
NUMBERS = ["0", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000.50", "٣٤٥ १२३ Ⅷ ½ ²", "47+85=132", "a1b22c333"]
SPACES = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "a", " a", "a ", "  a  ", "a  b   c    d", "a\n\nb\n \nc", "tab\ttab\t\ttab",
    "trailing   ", "\r\nwindows\r\n\r\nlines\r\n", "nbsp\u00a0and\u3000ideographic\u2003em", "zero\u200bwidth", "   lead", "line one\n    indented\n\n\n",
    "\u0085next line", "vertical\x0btab\x0cfeed", "nul\x00byte",
]
ENGLISH = [
    "I'm sure they'll say we've seen it; he'd don't, isn't it? IT'S WE'LL I'M",
    "The quick brown fox jumps over the lazy dog.",
    "ſ'ſ long s, K kelvin 'K, 'S 'T 'RE 'Ve",
    "e.g. U.S.A., Dr. Smith-Jones & co. (est. 1999) --- \"quoted\" ‘curly’ “double” … done!!!",
    "naïve café résumé coöperate — e\u0301 decomposed, ﬁ ligature, Å Å",
    "CamelCaseWords and snake_case_words and kebab-case-words and ALLCAPS",
    "https://example.org/a/b?c=d&e=%20f#g user@example.org",
    "...!!! ??? ,,, ;;; --- === *** ### $$$ %%% ^^^ &&& @@@",
    "a" * 60 + " " + "ab" * 40,
]
OTHER = [
    "Việt Nam đất nước, tiếng Việt có dấu.", "Ελληνικά: η γρήγορη αλεπού.", "עברית עם ניקוד שָׁלוֹם", "ไทยไม่มีช่องว่าง", "தமிழ் மொழி", "ქართული ენა",
    "Türkçe İIıi ğüşöç", "日本語とカタカナとひらがな、漢字。", "𝒜𝓁𝓅𝒽𝒶 𠜎𠜱 math and rare han", "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645",
    "\ufeffbom at start", "private \ue000 and replacement \ufffd",
]
SPECIAL = [
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<s>plain</s> <unk>", "a<|endoftext|>b <|endoftext|> c", "<|im_start|><|im_end|>", "< |im_start|> <|im_start |>",
    "x <strip> y", "x<strip>y", "wordone word xword", "<Norm> and <norm>", "<think>\nwell\n</think>\n\n42", "<|im_start|><|im_start|>",
]


def texts():
    rows = [json.loads(line)["text"] for line in (HERE / "sentences.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows + CODE + EMOJI + NUMBERS + SPACES + ENGLISH + OTHER + SPECIAL
