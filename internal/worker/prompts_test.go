package worker

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/data"
)

func TestSystemPromptNamesColumns(t *testing.T) {
	d := &grouse.Domain{System: `Reasoning: {{effort}}. Use \boxed{answer}, at most {{limits.tokens}} tokens.`}
	row := data.Row{ID: "1", Columns: map[string]any{"prompt": "2+2?", "answer": "4", "effort": "high", "limits": map[string]any{"tokens": 64.0}}}
	got, err := messagesOf(row, d)
	if err != nil {
		t.Fatal(err)
	}
	if want := `Reasoning: high. Use \boxed{answer}, at most 64 tokens.`; len(got) != 2 || got[0].Role != "system" || got[0].Content != want {
		t.Errorf("messages %+v, want the system prompt %q", got, want)
	}
	delete(row.Columns, "effort")
	if _, err := messagesOf(row, d); err == nil {
		t.Error("a row without the column was accepted")
	}
}

// Of many rows about half think, and always the same.
func TestMixedThinkingIsAFixedCoin(t *testing.T) {
	n := 0
	for i := range 1000 {
		id := string(rune('a'+i%26)) + string(rune('0'+i/26))
		first := coin(7, id)
		if again := coin(7, id); again != first {
			t.Fatal("the coin of a row changed")
		}
		if first {
			n++
		}
	}
	if n < 420 || n > 580 {
		t.Errorf("%d of 1000 rows think", n)
	}
}
