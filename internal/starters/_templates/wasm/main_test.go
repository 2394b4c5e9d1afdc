package main

import (
	"encoding/json"
	"testing"
)

func TestAnswer(t *testing.T) {
	got, err := json.Marshal(answer([]byte(`{"columns":{"answer":"4"},"completions":[{"text":"so 4"},{"text":"so 5"},{"text":""}]}`)))
	if err != nil || string(got) != `{"scores":[1,0,0]}` {
		t.Errorf("%s, %v", got, err)
	}
	if got := answer([]byte(`{"columns":{},"completions":[{"text":"4"}]}`)); got["error"] == nil {
		t.Errorf("without the column: %v", got)
	}
}
