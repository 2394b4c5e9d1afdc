package code

import (
	"fmt"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Pair is a program's input and what it must print.
type Pair struct{ Input, Output string }

// tests are what a row holds against a program: pairs, or Python texts.
type tests struct {
	pairs []Pair
	texts []string
}

// readTests reads the column: Python text, a list of such texts, or a list of
// {input, output}.
func readTests(s *rewards.Sample, column string) (tests, error) {
	v, ok := s.Column(column)
	if !ok {
		_, err := s.Text(column) // says what is missing
		return tests{}, err
	}
	bad := func(format string, args ...any) (tests, error) {
		return tests{}, rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q: %s", s.Prompt.RowID, column, fmt.Sprintf(format, args...)).
			WithFix(`tests are Python text with asserts, a list of such texts, or a list of {"input": "...", "output": "..."}`))
	}
	if text, ok := v.(string); ok {
		if text == "" {
			return bad("it is empty")
		}
		return tests{texts: []string{text}}, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return bad("it is %T, or empty", v)
	}
	var out tests
	for i, item := range list {
		switch item := item.(type) {
		case string:
			out.texts = append(out.texts, item)
		case map[string]any:
			input, ok1 := item["input"].(string)
			output, ok2 := item["output"].(string)
			if !ok1 || !ok2 {
				return bad("test %d has no text input and output", i)
			}
			out.pairs = append(out.pairs, Pair{input, output})
		default:
			return bad("test %d is a %T", i, item)
		}
	}
	if len(out.pairs) > 0 && len(out.texts) > 0 {
		return bad("it mixes pairs and texts")
	}
	return out, nil
}

// optional returns a text column that a row may lack; "" if column is "".
func optional(s *rewards.Sample, column string) (string, error) {
	if column == "" {
		return "", nil
	}
	if _, ok := s.Column(column); !ok {
		return "", nil
	}
	return s.Text(column)
}
