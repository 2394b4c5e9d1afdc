package jsonschema_test

import (
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/jsonschema"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

var person = map[string]any{
	"type": "object", "required": []any{"name", "age"}, "additionalProperties": false,
	"properties": map[string]any{"name": map[string]any{"type": "string"}, "age": map[string]any{"type": "integer", "minimum": 0}},
}

func TestReward(t *testing.T) {
	r, err := jsonschema.New(map[string]any{"schema": person})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "gold", Completion: `{"name": "Ada", "age": 36}`, Want: 1},
		rewardtest.Case{Name: "fenced", Completion: "```json\n{\"name\": \"Ada\", \"age\": 36}\n```", Want: 1},
		rewardtest.Case{Name: "after thinking", Completion: "<think>{</think>{\"name\": \"Ada\", \"age\": 36}", Want: 1},
		rewardtest.Case{Name: "other form", Completion: `{"name": "Ada"}`, Want: 0.2},
		rewardtest.Case{Name: "below the minimum", Completion: `{"name": "Ada", "age": -1}`, Want: 0.2},
		rewardtest.Case{Name: "text around", Completion: `Here: {"name": "Ada", "age": 36}`},
		rewardtest.Case{Name: "two values", Completion: `{"name": "Ada", "age": 36} {}`},
		rewardtest.Case{Name: "no JSON", Completion: "Ada, 36"},
		rewardtest.Case{Name: "empty", Completion: ""})
	r, err = jsonschema.New(map[string]any{"column": "schema"})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "object", Columns: map[string]any{"schema": person}, Completion: `{"name": "Ada", "age": 36}`, Want: 1},
		rewardtest.Case{Name: "text", Columns: map[string]any{"schema": `{"type": "number"}`}, Completion: "3", Want: 1},
		rewardtest.Case{Name: "broken", Columns: map[string]any{"schema": `{"type": 3}`}, Completion: "3", Error: "no JSON Schema"},
		rewardtest.Case{Name: "absent", Columns: map[string]any{}, Completion: "3", Error: `no column "schema"`},
		rewardtest.Case{Name: "reaches out", Columns: map[string]any{"schema": `{"$ref": "file:///etc/passwd"}`}, Completion: "3", Error: "outside of the schema"})
	for _, p := range []map[string]any{nil, {"schema": map[string]any{"type": 3}}, {"schema": person, "column": "x"}, {"schem": 1}} {
		if _, err := jsonschema.New(p); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
