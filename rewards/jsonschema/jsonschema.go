// Package jsonschema rewards answers that are JSON of a given form: a JSON Schema
// (drafts 4 to 2020-12) from the recipe, or one per row of the data.
package jsonschema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	js "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// Options are the parameters of json_schema.
type Options struct {
	Schema map[string]any `json:"schema"` // the schema itself
	Column string         `json:"column"` // or: the column that holds each row's schema, as an object or as text
	Fenced bool           `json:"fenced"` // the JSON may stand in a ``` block; true
}

// maxDepth bounds how deep an answer may nest: what is deeper is no record.
const maxDepth = 200

// maxBytes bounds the JSON that is looked at.
const maxBytes = 1 << 20

// Reward scores 1 if the answer is JSON that the schema accepts, 0.2 if it is JSON
// that it does not, else 0.
func Reward(o Options) (rewards.Reward, error) {
	var fixed *js.Schema
	if o.Schema != nil {
		var err error
		if fixed, err = compile(o.Schema); err != nil {
			return nil, grouse.Errorf(grouse.Invalid, "schema: %w", err).WithFix("mend the JSON Schema; a $ref may point within it only")
		}
	}
	return rewards.Each(func(_ context.Context, s rewards.Sample) (rewards.Result, error) {
		schema := fixed
		if schema == nil {
			var err error
			if schema, err = rowSchema(&s, o.Column); err != nil {
				return rewards.Result{}, err
			}
		}
		value, err := parse(s.Answer, o.Fenced)
		if err != nil {
			return rewards.Verdict(false, "not JSON: "+err.Error()), nil
		}
		if err := schema.Validate(value); err != nil {
			r := rewards.Verdict(false, reason(err))
			r.Value = partial
			return r, nil
		}
		return rewards.Verdict(true, ""), nil
	}), nil
}

// partial is the value of JSON of another form: a step on the way.
const partial = 0.2

// reason is the first line of a validation error that says something.
func reason(err error) string {
	var v *js.ValidationError
	if !errors.As(err, &v) {
		return err.Error()
	}
	for len(v.Causes) > 0 {
		v = v.Causes[0]
	}
	lines := strings.Split(v.Error(), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func rowSchema(s *rewards.Sample, column string) (*js.Schema, error) {
	v, ok := s.Column(column)
	if text, isText := v.(string); ok && isText {
		var parsed any
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			return nil, bad(s, column, err)
		}
		v = parsed
	} else if !ok {
		_, err := s.Text(column)
		return nil, err
	}
	schema, err := compile(v)
	if err != nil {
		return nil, bad(s, column, err)
	}
	return schema, nil
}

func bad(s *rewards.Sample, column string, err error) error {
	return rewards.Fail(grouse.Errorf(grouse.Invalid, "row %s: column %q is no JSON Schema: %w", s.Prompt.RowID, column, err).WithFix("mend the schema in the data"))
}

// refuse is a loader that loads nothing: no schema reaches a file or the network.
type refuse struct{}

func (refuse) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the schema", url)
}

func compile(doc any) (*js.Schema, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	plain, err := js.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	c := js.NewCompiler()
	c.UseLoader(refuse{})
	const name = "mem:///schema.json" // a URL, so that no path of this machine shows in an error
	if err := c.AddResource(name, plain); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

// parse reads one JSON value, bare or in a fence.
func parse(text string, fenced bool) (any, error) {
	text = strings.TrimSpace(text)
	if fenced {
		text = unfence(text)
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxBytes)
	}
	if tooDeep(text) {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	return js.UnmarshalJSON(strings.NewReader(text))
}

// unfence returns the inside of a text that is one fenced block.
func unfence(text string) string {
	inner, ok := strings.CutPrefix(text, "```")
	if !ok {
		return text
	}
	inner, ok = strings.CutSuffix(inner, "```")
	if !ok {
		return text
	}
	first, rest, ok := strings.Cut(inner, "\n")
	if l := strings.TrimSpace(strings.ToLower(first)); ok && (l == "" || l == "json") {
		return rest
	}
	return text
}

// tooDeep counts brackets outside of strings, before any parser recurses into them.
func tooDeep(text string) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// New makes the reward json_schema from a recipe's parameters.
func New(params map[string]any) (rewards.Reward, error) {
	o := Options{Fenced: true}
	if err := rewards.Decode(params, &o); err != nil {
		return nil, err
	}
	if (o.Schema == nil) == (o.Column == "") {
		return nil, grouse.Errorf(grouse.Invalid, "json_schema needs a schema or a column, one of them").WithFix("set schema: {...} or column: NAME")
	}
	return Reward(o)
}
