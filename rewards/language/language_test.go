package language_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/language"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

// lines calls f for each JSON line of a file of testdata and fails if there is none.
func lines[T any](t *testing.T, name string, f func(T)) {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n := 0
	for sc := bufio.NewScanner(file); sc.Scan(); n++ {
		var row T
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		f(row)
	}
	if n == 0 {
		t.Fatalf("%s is empty", name)
	}
}

func TestMixedTexts(t *testing.T) {
	lines(t, "mixed.jsonl", func(row struct {
		ID, Target, Text string
		RatioWords       float64 `json:"ratio_words"`
		Accept           [2]float64
	}) {
		n, all := language.Count(row.Text, row.Target)
		if got := language.Consistency(n, all); got < row.Accept[0] || got > row.Accept[1] {
			t.Errorf("%s: %d of %d words are %s: %.4f, want %.4f to %.4f", row.ID, n, all, row.Target, got, row.Accept[0], row.Accept[1])
		}
	})
}

// Each sentence is all of its own language and nothing of any other.
func TestSentences(t *testing.T) {
	langs := []string{"en", "zh", "fr", "de", "es", "ru", "ja", "ar", "hi", "ko", "it", "pt"}
	lines(t, "sentences.jsonl", func(row struct{ Lang, Text string }) {
		for _, target := range langs {
			n, all := language.Count(row.Text, target)
			share := language.Consistency(n, all)
			if target == row.Lang && share < 0.95 || target != row.Lang && share > 0.3 {
				t.Errorf("%q (%s): %d of %d words are %s", row.Text, row.Lang, n, all, target)
			}
		}
	})
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		text, target string
		n, all       int
	}{
		{"", "en", 0, 0}, {"12 + 3 = 15", "en", 0, 0}, {"$x$ and `y`", "en", 1, 1}, {"你好", "zh", 2, 2}, {"これは本です", "ja", 6, 6}, {"これは本です。这是书。", "ja", 6, 9}, {"한국어 문장", "ko", 2, 2},
		{"don't", "en", 1, 1}, {"the cat", "zh", 0, 2}, {"你好 world", "zh", 2, 3}, {"```go\nfunc main() {}\n``` the end", "en", 2, 2}, {"see https://example.org/page now", "en", 2, 2},
		{`\begin{align} abc \end{align} so the`, "en", 2, 2}, {"हिन्दी में", "hi", 2, 2}, {"<think>the</think>", "en", 1, 1},
	} {
		n, all := language.Count(c.text, c.target)
		if n != c.n || all != c.all {
			t.Errorf("Count(%q, %s) = %d of %d, want %d of %d", c.text, c.target, n, all, c.n, c.all)
		}
	}
}

func TestReward(t *testing.T) {
	r, err := language.New(map[string]any{"target": "en"})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "all", Completion: "First we find the sum.", Want: 1},
		rewardtest.Case{Name: "thinking part only", Completion: "<think>First we find the sum.</think>答案是五", Want: 1},
		rewardtest.Case{Name: "unclosed thinking: the whole text", Completion: "<think>的", Want: 0},
		rewardtest.Case{Name: "half", Completion: "the sum 你好", Want: 0.5},
		rewardtest.Case{Name: "no words", Completion: "42", Want: 0},
		rewardtest.Case{Name: "empty", Completion: "", Want: 0})
	r, err = language.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "row's own", Columns: map[string]any{"language": "zh-CN"}, Completion: "你好", Want: 1},
		rewardtest.Case{Name: "unknown", Columns: map[string]any{"language": "xx"}, Completion: "a", Error: "unknown language"},
		rewardtest.Case{Name: "absent", Columns: map[string]any{}, Completion: "a", Error: `no column "language"`})
	if _, err := language.New(map[string]any{"target": "klingon"}); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
		t.Errorf("an unknown target: %v", err)
	}
	if n := len(language.Languages()); n < 10 || !strings.Contains(strings.Join(language.Languages(), " "), "ar") {
		t.Errorf("%d languages", n)
	}
}

func FuzzCount(f *testing.F) {
	for _, s := range []string{"the cat", "$$", "```", `\begin{a}`, "これは本", "\xff'", "l'été"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, target := range []string{"en", "ja", "zh", "ar"} {
			if n, all := language.Count(s, target); n < 0 || n > all {
				t.Fatalf("%d of %d", n, all)
			}
		}
	})
}
