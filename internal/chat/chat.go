package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/chat/jinja"
)

// None is the name of "no template": prompts are plain text.
const None = "none"

// Template is a chat template, or none. It may be used from several goroutines.
type Template struct {
	source string
	parsed *jinja.Template // nil: plain text
}

// New parses a template's Jinja source; "" and "none" mean plain text.
func New(source string) (*Template, error) {
	if source == "" || source == None {
		return &Template{}, nil
	}
	parsed, err := jinja.Parse(source)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "chat template: %w", err).
			WithFix("write model.chat_template: none in the recipe for plain text, or name another template")
	}
	return &Template{source, parsed}, nil
}

// Plain reports whether there is no template.
func (t *Template) Plain() bool { return t.parsed == nil }

// Source returns the Jinja source, "" if there is none.
func (t *Template) Source() string { return t.source }

// Options are what a template sees besides the messages.
type Options struct {
	AddGenerationPrompt bool // end with the beginning of the assistant's turn
	BOS, EOS            string
	Tools               []any          // JSON schemas of functions
	Vars                map[string]any // enable_thinking, thinking and the like
	Now                 time.Time      // what strftime_now shows; zero: there is no strftime_now
}

// Render returns the text of the conversation. An Invalid error says what the
// template refused (the order of roles, say).
func (t *Template) Render(messages []grouse.Message, o Options) (string, error) {
	if t.parsed == nil {
		return plain(messages), nil
	}
	list := make([]any, len(messages))
	for i, m := range messages {
		list[i] = map[string]any{"role": m.Role, "content": m.Content}
	}
	return t.RenderRaw(list, o)
}

// RenderRaw is Render for messages as a data row holds them: maps that may have
// more keys than role and content (tool_calls, reasoning_content, name).
func (t *Template) RenderRaw(messages []any, o Options) (string, error) {
	if t.parsed == nil {
		return "", grouse.Errorf(grouse.Invalid, "messages with further keys need a chat template")
	}
	vars := map[string]any{}
	for k, v := range o.Vars {
		vars[k] = v
	}
	vars["messages"] = messages
	vars["add_generation_prompt"] = o.AddGenerationPrompt
	if o.BOS != "" {
		vars["bos_token"] = o.BOS
	}
	if o.EOS != "" {
		vars["eos_token"] = o.EOS
	}
	vars["tools"] = nil
	if len(o.Tools) > 0 {
		vars["tools"] = o.Tools
	}
	vars["documents"] = nil
	if !o.Now.IsZero() {
		vars["strftime_now"] = jinja.Func(func(args []any) (any, error) {
			format, ok := "", false
			if len(args) == 1 {
				format, ok = args[0].(string)
			}
			if !ok {
				return nil, fmt.Errorf("strftime_now takes a format")
			}
			return strftime(o.Now, format), nil
		})
	}
	text, err := t.parsed.Render(vars, jinja.Limits{})
	if err != nil {
		var refused *jinja.Raised
		if errors.As(err, &refused) {
			return "", grouse.Errorf(grouse.Invalid, "chat template: %w", err).WithFix("change the row's messages to what the template asks for")
		}
		return "", grouse.Errorf(grouse.Invalid, "chat template: %w", err)
	}
	return text, nil
}

// plain joins the messages' contents with an empty line between.
func plain(messages []grouse.Message) string {
	parts := make([]string, 0, len(messages))
	for _, m := range messages {
		if m.Content != "" {
			parts = append(parts, m.Content)
		}
	}
	return strings.Join(parts, "\n\n")
}

// strftime formats a time by the directives that templates use.
func strftime(t time.Time, format string) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon", 'H': "15", 'I': "03",
		'M': "04", 'S': "05", 'p': "PM", 'y': "06", 'j': "002", 'Z': "MST", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'e': "_2",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		if layout, ok := layouts[format[i]]; ok {
			b.WriteString(t.Format(layout))
			continue
		}
		if format[i] != '%' {
			b.WriteByte('%')
		}
		b.WriteByte(format[i])
	}
	return b.String()
}
