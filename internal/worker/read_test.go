package worker

import "testing"

func TestColumnByDottedPath(t *testing.T) {
	columns := map[string]any{"a": "top", "a.b": "whole", "o": map[string]any{"p": map[string]any{"q": 4.0}, "p.r": "inner"}, "list": []any{1.0}}
	for path, want := range map[string]any{"a": "top", "a.b": "whole", "o.p.q": 4.0, "o.p.r": "inner"} {
		if got, ok := column(columns, path); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", path, got, ok, want)
		}
	}
	for _, path := range []string{"", ".", "a.c", "o.p.s", "o.q", "list.0", "o.p.q.r", "a."} {
		if got, ok := column(columns, path); ok {
			t.Errorf("%s: %v", path, got)
		}
	}
	if got, err := withAnswer(columns, "o.p.q"); err != nil || got["answer"] != 4.0 || columns["answer"] != nil {
		t.Errorf("%v %v", got, err)
	}
}
