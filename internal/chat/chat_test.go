package chat_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat"
	"github.com/grouse-rl/grouse/internal/chat/jinja"
)

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// testdata is written by scripts/golden/chat_golden.py.
func TestConstructsAsJinja2(t *testing.T) {
	var g struct {
		Vars map[string]json.RawMessage
		Rows []struct {
			Template, Want string
			Fails          bool
		}
	}
	readJSON(t, "testdata/constructs.json", &g)
	if len(g.Rows) < 90 {
		t.Fatalf("only %d rows", len(g.Rows))
	}
	vars := map[string]any{}
	for k, v := range g.Vars {
		vars[k] = v
	}
	for _, r := range g.Rows {
		got, err := render(r.Template, vars)
		switch {
		case r.Fails && err == nil:
			t.Errorf("%q rendered %q, jinja2 refuses it", r.Template, got)
		case !r.Fails && err != nil:
			t.Errorf("%q: %v", r.Template, err)
		case got != r.Want && !r.Fails:
			t.Errorf("%q:\n got %q\nwant %q", r.Template, got, r.Want)
		}
	}
}

func render(src string, vars map[string]any) (string, error) {
	parsed, err := jinja.Parse(src)
	if err != nil {
		return "", err
	}
	return parsed.Render(vars, jinja.Limits{})
}

func TestTemplatesAsTransformers(t *testing.T) {
	var g struct {
		Templates map[string]string
		Cases     []struct {
			Template   string
			Messages   []json.RawMessage
			Generation bool
			Vars       map[string]any
			Tools      []json.RawMessage
			Want       string
		}
	}
	readJSON(t, "testdata/templates.json", &g)
	if len(g.Cases) < 100 || len(g.Templates) < 5 {
		t.Fatalf("only %d cases", len(g.Cases))
	}
	for i, c := range g.Cases {
		tmpl, err := chat.New(g.Templates[c.Template])
		if err != nil {
			t.Fatalf("%s: %v", c.Template, err)
		}
		o := chat.Options{AddGenerationPrompt: c.Generation, BOS: "<BOS>", EOS: "<EOS>", Vars: c.Vars}
		var raw []any
		var messages []grouse.Message
		simple := true
		for _, m := range c.Messages {
			raw = append(raw, m)
			var message grouse.Message
			json.Unmarshal(m, &message)
			messages = append(messages, message)
			simple = simple && !strings.Contains(string(m), "tool_calls")
		}
		for _, tool := range c.Tools {
			o.Tools = append(o.Tools, tool)
		}
		got, err := tmpl.RenderRaw(raw, o)
		if err != nil || got != c.Want {
			t.Errorf("case %d, %s, %v:\n got %q (%v)\nwant %q", i, c.Template, c.Vars, got, err, c.Want)
		}
		if !simple {
			continue
		}
		if got, err := tmpl.Render(messages, o); err != nil || got != c.Want {
			t.Errorf("case %d, %s: Render and RenderRaw differ: %q (%v)", i, c.Template, got, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for _, source := range []string{"", "none"} {
		tmpl, err := chat.New(source)
		if err != nil || !tmpl.Plain() {
			t.Fatal(err)
		}
		got, err := tmpl.Render([]grouse.Message{{Role: "system", Content: "A"}, {Role: "user", Content: "B"}}, chat.Options{AddGenerationPrompt: true})
		if err != nil || got != "A\n\nB" {
			t.Errorf("got %q %v", got, err)
		}
	}
}

func TestClockIsAnArgument(t *testing.T) {
	tmpl, err := chat.New(`{% if strftime_now is defined %}{{ strftime_now("%d %b %Y, %H:%M %%") }}{% else %}no clock{% endif %}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := tmpl.Render(nil, chat.Options{}); got != "no clock" {
		t.Errorf("got %q", got)
	}
	now := time.Date(2024, 7, 5, 9, 30, 0, 0, time.UTC)
	if got, _ := tmpl.Render(nil, chat.Options{Now: now}); got != "05 Jul 2024, 09:30 %" {
		t.Errorf("got %q", got)
	}
}

func TestRefusalsAreInvalid(t *testing.T) {
	if _, err := chat.New("{% if %}"); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("got %v", err)
	}
	tmpl, err := chat.New("{{ raise_exception('roles must alternate') }}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Render(nil, chat.Options{}); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "roles must alternate") {
		t.Errorf("got %v", err)
	}
}

// A template cannot run away, whatever it says.
func TestBombs(t *testing.T) {
	for _, src := range []string{
		"{% for i in range(1000000000) %}{% endfor %}",
		"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
		"{{ 'a' * 10000000000 }}",
		"{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(4000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x == ns.x }}{{ [ns.x]|unique }}",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
		"{% for i in range(100000) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}",
		"{{ 'a\n'|replace('a', 'b' * 1000000)|replace('b', 'c' * 1000000) }}",
		"{{ ('a\n' * 100000)|indent(1000000) }}",
		"{{ 'x'|indent(99999999999) }}",
		"{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
		"{{ " + strings.Repeat("not ", 50000) + "1 }}",
		"{{ " + strings.Repeat("-", 50000) + "1 }}",
		strings.Repeat("{% if a %}", 5000),
		"{{ 9 ** 9999999999 }}",
		"{{ 1" + strings.Repeat("+1", 400_000) + " }}",
		"{{ a" + strings.Repeat(".b", 400_000) + " }}",
		"{{ a" + strings.Repeat("|d", 400_000) + " }}",
		"{{ 1" + strings.Repeat(" or 0", 100_000) + " }}",
		"{{ a" + strings.Repeat(" if 1", 100_000) + " }}",
	} {
		begin := time.Now()
		got, err := render(src, nil)
		if err == nil {
			t.Errorf("%.60q gave %d bytes", src, len(got))
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("%.60q took %v", src, d)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("{% for m in messages %}{{ m.role|upper ~ m['content'][1:] }}{% endfor %}")
	f.Add("{%- set ns = namespace(a=1) -%}{% macro f(x, y=2) %}{{ x|tojson(indent=2) }}{% endmacro %}{{ f([1, {'a': none}]) if ns.a is odd else 'x'.split('a')|map('trim')|join }}")
	messages := []any{map[string]any{"role": "user", "content": "Hi 🙂"}}
	f.Fuzz(func(t *testing.T, src string) {
		parsed, err := jinja.Parse(src)
		if err != nil {
			return
		}
		parsed.Render(map[string]any{"messages": messages}, jinja.Limits{Steps: 20000, Memory: 1 << 20, Output: 1 << 20})
	})
}
