package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/tokenizer"
	"github.com/grouse-rl/grouse/rewards"
)

// Templates of our own with the interfaces of hybrid models. DeepSeek-V3.1 opens or
// closes the thinking part in the prompt and drops what earlier turns thought; Qwen3
// leaves opening it to the model and writes an empty part if it shall not think.
var hybrids = map[string]struct{ template, think, plain string }{
	"deepseek-v3.1": {`{%- if thinking is not defined %}{% set thinking = false %}{% endif -%}
{%- for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor -%}
{%- for m in messages %}{% if m.role == 'user' %}[U]{{ m.content }}{% elif m.role == 'assistant' %}[A]</think>{{ m.content.split('</think>')[-1] }}[E]{% endif %}{% endfor -%}
{%- if add_generation_prompt %}[A]{% if thinking %}<think>{% else %}</think>{% endif %}{% endif -%}`,
		"[U]QUESTION[A]<think>", "[U]QUESTION[A]</think>"},
	"qwen3": {`{%- for m in messages %}[{{ m.role }}]{{ m.content }}[E]{% endfor -%}
{%- if add_generation_prompt %}[assistant]{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif -%}`,
		"[user]QUESTION[E][assistant]", "[user]QUESTION[E][assistant]<think>\n\n</think>\n\n"},
}

// Each domain has its own toggle; mixed is both, by row and for good; what a completion
// thought is told apart whichever way it began.
func TestThinkingByDomain(t *testing.T) {
	tok, err := tokenizer.Characters(tokenizer.CharactersSpec{Characters: "0123456789+?[]UAEQSTIONusertaink\n", Special: []string{"<think>", "</think>"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var rows strings.Builder
	for i := range 60 {
		fmt.Fprintf(&rows, "{\"id\": \"%d\", \"prompt\": \"QUESTION\", \"answer\": \"4\"}\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "rows.jsonl"), []byte(rows.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, h := range hybrids {
		template, err := chat.New(h.template)
		if err != nil {
			t.Fatal(err)
		}
		p := &prompts{base: dir, spec: grouse.RunSpec{Seed: 3, OnBadRow: "stop"}, policy: &Policy{Tokenizer: tok, Template: template}}
		load := func(thinking string) (think, plain int, texts string) {
			set, err := p.load(&grouse.Domain{Name: "d", Thinking: thinking, Data: grouse.DataSpec{Path: "rows.jsonl"}}, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, prompt := range set.prompts {
				switch prompt.Text {
				case h.think:
					think++
				case h.plain:
					plain++
				default:
					t.Fatalf("%s, thinking %q: the prompt is %q", name, thinking, prompt.Text)
				}
				if got := tok.Decode(prompt.TokenIDs, false); got != prompt.Text {
					t.Fatalf("%s: the tokens are of %q", name, got)
				}
				texts += prompt.Text
			}
			return think, plain, texts
		}
		if think, plain, _ := load("true"); think != 60 || plain != 0 {
			t.Errorf("%s, true: %d think, %d do not", name, think, plain)
		}
		if think, plain, _ := load("false"); think != 0 || plain != 60 {
			t.Errorf("%s, false: %d think, %d do not", name, think, plain)
		}
		think, plain, texts := load("mixed")
		if think < 15 || plain < 15 {
			t.Errorf("%s, mixed: %d think, %d do not", name, think, plain)
		}
		if _, _, again := load("mixed"); again != texts {
			t.Errorf("%s, mixed: other rows think the second time", name)
		}
		if again, _, _ := load(""); name == "deepseek-v3.1" && again != 0 || name == "qwen3" && again != 60 {
			t.Errorf("%s, without a toggle: %d think; the template's default is another", name, again)
		}
		completion := "2+2</think>4"
		if name == "qwen3" {
			completion = "<think>2+2</think>4"
		}
		if thinking, answer, thought := rewards.SplitThinking(h.think, completion); thinking != "2+2" || answer != "4" || thought != rewards.ClosedThought {
			t.Errorf("%s: %q, %q, %v", name, thinking, answer, thought)
		}
		if thinking, answer, thought := rewards.SplitThinking(h.plain, "4"); thinking != "" || answer != "4" || thought != rewards.NoThought {
			t.Errorf("%s, not thinking: %q, %q, %v", name, thinking, answer, thought)
		}
	}
}

// A toggle that the template does not have is refused, not ignored.
func TestThinkingNeedsAToggle(t *testing.T) {
	for name, source := range map[string]string{"no toggle": "{% for m in messages %}{{ m.content }}{% endfor %}", "no template": "none"} {
		template := &chat.Template{}
		if source != "none" {
			var err error
			if template, err = chat.New(source); err != nil {
				t.Fatal(err)
			}
		}
		p := &prompts{policy: &Policy{Template: template}}
		err := p.toggles(&grouse.Domain{Name: "d", Thinking: "mixed"})
		if grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.toggles(&grouse.Domain{Name: "d"}); err != nil {
			t.Errorf("%s, no toggle asked for: %v", name, err)
		}
	}
}
