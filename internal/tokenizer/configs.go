package tokenizer

import (
	"encoding/json"
	"slices"

	"github.com/grouse-rl/grouse"
)

// tokenName is a token in a configuration: its text, or an object with content.
type tokenName string

func (n *tokenName) UnmarshalJSON(raw []byte) error {
	var o struct {
		Content string `json:"content"`
	}
	if raw[0] == '{' {
		err := json.Unmarshal(raw, &o)
		*n = tokenName(o.Content)
		return err
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	if s != nil {
		*n = tokenName(*s)
	}
	return nil
}

// idList is an id or a list of ids.
type idList []int32

func (l *idList) UnmarshalJSON(raw []byte) error {
	if raw[0] == '[' {
		return json.Unmarshal(raw, (*[]int32)(l))
	}
	var id *int32
	err := json.Unmarshal(raw, &id)
	if id != nil {
		*l = idList{*id}
	}
	return err
}

func (t *Tokenizer) readConfigs(files map[string][]byte) error {
	var c struct {
		BOS, EOS, PAD, UNK tokenName
		Template           json.RawMessage
	}
	names := map[string]*tokenName{"bos_token": &c.BOS, "eos_token": &c.EOS, "pad_token": &c.PAD, "unk_token": &c.UNK}
	for _, file := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		raw, ok := files[file]
		if !ok {
			continue
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return grouse.Errorf(grouse.Invalid, "%s: %w", file, err)
		}
		for key, into := range names {
			if v, ok := all[key]; ok {
				if err := json.Unmarshal(v, into); err != nil {
					return grouse.Errorf(grouse.Invalid, "%s: %s: %w", file, key, err)
				}
			}
		}
		if v, ok := all["chat_template"]; ok {
			c.Template = v
		}
	}
	t.nameToken(c.BOS, &t.bos)
	t.nameToken(c.EOS, &t.eos)
	t.nameToken(c.PAD, &t.pad)
	t.nameToken(c.UNK, &t.unk)
	if err := t.readTemplate(files, c.Template); err != nil {
		return err
	}
	return t.readStopIDs(files)
}

func (t *Tokenizer) nameToken(name tokenName, id *int32) {
	if got, ok := t.ID(string(name)); ok && name != "" {
		*id = got
	}
}

func (t *Tokenizer) readTemplate(files map[string][]byte, raw json.RawMessage) error {
	if b, ok := files["chat_template.jinja"]; ok {
		t.template = string(b)
		return nil
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if raw[0] != '[' {
		if err := json.Unmarshal(raw, &t.template); err != nil {
			return grouse.Errorf(grouse.Invalid, "tokenizer_config.json: chat_template: %w", err)
		}
		return nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(raw, &named); err != nil {
		return grouse.Errorf(grouse.Invalid, "tokenizer_config.json: chat_template: %w", err)
	}
	for _, n := range named {
		if n.Name == "default" {
			t.template = n.Template
		}
	}
	return nil
}

func (t *Tokenizer) readStopIDs(files map[string][]byte) error {
	stop := map[int32]bool{}
	if t.eos >= 0 {
		stop[t.eos] = true
	}
	for _, file := range []string{"generation_config.json", "config.json"} {
		raw, ok := files[file]
		if !ok {
			continue
		}
		var c struct {
			EOS idList `json:"eos_token_id"`
		}
		if err := json.Unmarshal(raw, &c); err != nil {
			return grouse.Errorf(grouse.Invalid, "%s: eos_token_id: %w", file, err)
		}
		for _, id := range c.EOS {
			stop[id] = true
		}
	}
	for id := range stop {
		t.stop = append(t.stop, id)
	}
	slices.Sort(t.stop)
	return nil
}
