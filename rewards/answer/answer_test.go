package answer_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/grouse-rl/grouse/rewards/answer"
)

func TestLastBoxed(t *testing.T) {
	for _, c := range []struct {
		text, want string
		ok         bool
	}{
		{`so \boxed{42}.`, "42", true}, {`\boxed{1} then \boxed{2}`, "2", true}, {`\boxed{\frac{1}{2}}`, `\frac{1}{2}`, true},
		{`\boxed{\{1,2\}}`, `\{1,2\}`, true}, {`\boxed {7}`, "7", true}, {`\boxed 7 `, "7", true}, {`\fbox{9}`, "9", true},
		{`\boxed{\boxed{7}}`, "7", true}, {`\boxed{1} \boxed{2`, "1", true}, {`\boxed{`, "", false}, {``, "", false}, {`\boxedx{1}`, "", false},
		{`\boxed{a}b}`, "a", true}, {`\boxed{}`, "", true}, {`\boxed`, "", false},
	} {
		got, ok := answer.LastBoxed(c.text)
		if got != c.want || ok != c.ok {
			t.Errorf("LastBoxed(%q) = %q, %v; want %q, %v", c.text, got, ok, c.want, c.ok)
		}
	}
}

func TestIn(t *testing.T) {
	for _, c := range []struct {
		text, want string
		source     answer.Source
	}{
		{`We get \boxed{5}, the answer is 6.`, "5", answer.FromBox},
		{`<answer> 12 </answer>`, "12", answer.FromTag},
		{`<answer>\boxed{3}</answer>`, "3", answer.FromBox},
		{"work 1 2\n#### 1,234\n", "1,234", answer.FromHashes},
		{"The answer is 3.5. I checked 7.", "3.5", answer.FromPhrase},
		{"**Final Answer:** 18", "18", answer.FromPhrase},
		{"The final answer is: $\\frac{1}{2}$.", `$\frac{1}{2}$`, answer.FromPhrase},
		{"Answer: **9**", "9", answer.FromPhrase},
		{"So x = 4 and then we have 17 apples.", "17", answer.FromLast},
		{"so 5-3", "3", answer.FromLast}, {"it is -3", "-3", answer.FromLast}, {"costs $1,200", "$1,200", answer.FromLast},
		{"thus $x^2 + 1$ holds", "x^2 + 1", answer.FromLast}, {"a ratio of 3/4", "3/4", answer.FromLast}, {"about 1.5e6 grains", "1.5e6", answer.FromLast},
		{`hence \(2\pi\).`, `2\pi`, answer.FromLast}, {"答案是 7。", "7", answer.FromPhrase},
	} {
		got, ok := answer.In(c.text)
		if !ok || got.Text != c.want || got.Source != c.source {
			t.Errorf("In(%q) = %+v, %v; want %q from %s", c.text, got, ok, c.want, c.source)
		}
	}
	for _, text := range []string{"", "no numbers here", "I do not know. Maybe 5.", `\boxed{I don't know}`, `\boxed{} 7`, "<answer></answer> 3", "I can't determine it, 4"} {
		if got, ok := answer.In(text); ok {
			t.Errorf("In(%q) = %+v, want no answer", text, got)
		}
	}
}

func TestFindLeavesThinkingAlone(t *testing.T) {
	for _, c := range []struct{ thinking, final, want string }{
		{`\boxed{1}`, "The answer is 2", "2"}, {`maybe \boxed{1}`, "", "1"}, {"so 5", "", ""}, {`\boxed{1}`, "no", ""},
	} {
		got, ok := answer.Find(c.thinking, c.final)
		if got.Text != c.want || ok != (c.want != "") {
			t.Errorf("Find(%q, %q) = %+v, %v; want %q", c.thinking, c.final, got, ok, c.want)
		}
	}
}

func FuzzIn(f *testing.F) {
	for _, s := range []string{`\boxed{\frac{1}{2}}`, "<answer>1</answer>", "#### 4", "the answer is $x$.", "\xff$", strings.Repeat(`\boxed{`, 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := answer.In(text)
		if ok != (got.Text != "") && ok {
			t.Fatalf("an answer without text: %+v", got)
		}
		if ok && utf8.ValidString(text) && !strings.Contains(text, got.Text) {
			t.Fatalf("%q is not in %q", got.Text, text)
		}
	})
}

func TestLinearTime(t *testing.T) {
	for name, unit := range map[string]string{"boxes": `\boxed{`, "dollars": "$", "phrases": "answer is ", "numbers": "9", "signs": "- ", "commas": "1,", "tags": "<answer>"} {
		start := time.Now()
		answer.In(strings.Repeat(unit, 1<<20/len(unit)))
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("a megabyte of %s takes %v", name, took)
		}
	}
}
