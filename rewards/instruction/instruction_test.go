package instruction_test

import (
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards/instruction"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

// Each of the 25 instructions, followed and not.
func TestCheckers(t *testing.T) {
	kw := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	tried := map[string]bool{}
	for _, c := range []struct {
		id      string
		args    map[string]any
		yes, no []string
	}{
		{"keywords:existence", kw("keywords", []any{"apple", "tree"}), []string{"An Apple fell from the trees"}, []string{"an apple"}},
		{"keywords:frequency", kw("keyword", "go", "frequency", 2.0, "relation", "at least"), []string{"go, Go!"}, []string{"go"}},
		{"keywords:frequency", kw("keyword", "go", "frequency", 2.0, "relation", "less than"), []string{"go"}, []string{"go go"}},
		{"keywords:forbidden_words", kw("forbidden_words", []any{"rock"}), []string{"rocket"}, []string{"a ROCK.", "rock"}},
		{"keywords:letter_frequency", kw("letter", "#", "let_frequency", 2.0, "let_relation", "at least"), []string{"# a #"}, []string{"#"}},
		{"language:response_language", kw("language", "de"), []string{"Das ist ein kurzer Satz und noch einer."}, []string{"This is a short sentence."}},
		{"language:response_language", kw("language", "kn"), []string{"ನಮಸ್ಕಾರ ಜಗತ್ತು"}, []string{"hello"}},
		{"length_constraints:number_sentences", kw("num_sentences", 3.0, "relation", "less than"), []string{"One. Two!", "Dr. Smith came. He saw."}, []string{"One. Two. Three?"}},
		{"length_constraints:number_paragraphs", kw("num_paragraphs", 2.0), []string{"a\n***\nb", "***\na\n***\nb\n***"}, []string{"a", "a *** *** b"}},
		{"length_constraints:number_words", kw("num_words", 3.0, "relation", "at least"), []string{"one two three"}, []string{"one two"}},
		{"length_constraints:nth_paragraph_first_word", kw("num_paragraphs", 2.0, "nth_paragraph", 2.0, "first_word", "Weekend"), []string{"a\n\n\"Weekend, b"}, []string{"a\n\nb", "weekend", "a\n\nweekend\n\nc"}},
		{"detectable_content:number_placeholders", kw("num_placeholders", 2.0), []string{"[name] [address]"}, []string{"[name]"}},
		{"detectable_content:postscript", kw("postscript_marker", "P.S."), []string{"bye\nP. S. more", "p.s. x"}, []string{"bye"}},
		{"detectable_content:postscript", kw("postscript_marker", "P.P.S"), []string{"P.P.S x"}, []string{"P.S. x"}},
		{"detectable_format:number_bullet_lists", kw("num_bullets", 2.0), []string{"* a\n- b"}, []string{"* a", "* a\n* b\n* c", "**a**\n**b**"}},
		{"detectable_format:constrained_response", nil, []string{"My answer is yes."}, []string{"yes"}},
		{"detectable_format:number_highlighted_sections", kw("num_highlights", 2.0), []string{"*a* and *b*"}, []string{"*a*", "* *"}},
		{"detectable_format:multiple_sections", kw("num_sections", 2.0, "section_spliter", "SECTION"), []string{"SECTION 1 a SECTION 2 b"}, []string{"SECTION 1 a", "section 1 section 2"}},
		{"detectable_format:json_format", nil, []string{`{"a": 1}`, "```json\n[1]\n```"}, []string{"a: 1", `{"a": 1} ok`}},
		{"detectable_format:title", nil, []string{"<<A title>>\ntext"}, []string{"<< >>", "title"}},
		{"combination:two_responses", nil, []string{"a ****** b"}, []string{"a ****** a", "a", "a ****** ****** b"}},
		{"combination:repeat_prompt", kw("prompt_to_repeat", "Say this."), []string{"say this. I say it."}, []string{"I say. Say this."}},
		{"startend:end_checker", kw("end_phrase", "The end."), []string{"It is over. the end.", "\"The end.\""}, []string{"The end. Or not"}},
		{"startend:quotation", nil, []string{`"a"`}, []string{`a`, `"a`, `"`}},
		{"change_case:capital_word_frequency", kw("capital_frequency", 2.0, "capital_relation", "at least"), []string{"NASA and ESA"}, []string{"Nasa and ESA"}},
		{"change_case:english_capital", nil, []string{"THE DOG IS HERE."}, []string{"The DOG is here.", "DER HUND IST NICHT AUF DEM DACH."}},
		{"change_case:english_lowercase", nil, []string{"the dog is here."}, []string{"The dog is here."}},
		{"punctuation:no_comma", nil, []string{"a b"}, []string{"a, b"}},
	} {
		tried[c.id] = true
		check, err := instruction.New(c.id, c.args)
		if err != nil {
			t.Errorf("%s: %v", c.id, err)
			continue
		}
		for _, text := range c.yes {
			if !check(text) {
				t.Errorf("%s %v: %q follows it", c.id, c.args, text)
			}
		}
		for _, text := range c.no {
			if check(text) {
				t.Errorf("%s %v: %q does not follow it", c.id, c.args, text)
			}
		}
	}
	if ids := instruction.IDs(); len(ids) != 25 || len(tried) != 25 {
		t.Errorf("%d instructions, %d tried, want 25 (%s)", len(ids), len(tried), strings.Join(ids, " "))
	}
}

func TestBadArguments(t *testing.T) {
	for _, c := range []struct {
		id   string
		args map[string]any
	}{
		{"keywords:existance", nil}, {"keywords:existence", nil}, {"keywords:frequency", map[string]any{"keyword": "a", "frequency": 1.0, "relation": "more"}},
		{"length_constraints:number_words", map[string]any{"relation": "at least", "num_words": "ten"}}, {"language:response_language", map[string]any{"language": "xx"}},
	} {
		if _, err := instruction.New(c.id, c.args); err == nil {
			t.Errorf("%s %v: accepted", c.id, c.args)
		}
	}
}

func TestReward(t *testing.T) {
	row := map[string]any{"instruction_id_list": []any{"punctuation:no_comma", "length_constraints:number_words"},
		"kwargs": []any{map[string]any{"num_words": nil}, map[string]any{"relation": "at least", "num_words": 3.0}}}
	r, err := instruction.NewReward(nil)
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "both", Columns: row, Completion: "one two three", Want: 1},
		rewardtest.Case{Name: "one", Columns: row, Completion: "one two", Want: 0},
		rewardtest.Case{Name: "thinking does not count", Columns: row, Completion: "<think>a, b</think>one two three", Want: 1},
		rewardtest.Case{Name: "nothing", Columns: row, Completion: "", Want: 0},
		rewardtest.Case{Name: "no list", Columns: map[string]any{}, Completion: "a", Error: "not a list"},
		rewardtest.Case{Name: "lists of two lengths", Columns: map[string]any{"instruction_id_list": []any{"punctuation:no_comma"}, "kwargs": []any{}}, Completion: "a", Error: "1 objects"},
		rewardtest.Case{Name: "unknown", Columns: map[string]any{"instruction_id_list": []any{"x:y"}, "kwargs": []any{nil}}, Completion: "a", Error: "unknown instruction"})
	r, err = instruction.NewReward(map[string]any{"score": "share"})
	if err != nil {
		t.Fatal(err)
	}
	rewardtest.Run(t, r, rewardtest.Case{Name: "half", Columns: row, Completion: "one two", Want: 0.5}, rewardtest.Case{Name: "both", Columns: row, Completion: "one two three", Want: 1})
	if _, err := instruction.NewReward(map[string]any{"score": "most"}); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
		t.Errorf("score most: %v", err)
	}
}
