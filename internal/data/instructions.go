package data

import (
	"fmt"

	"github.com/grouse-rl/grouse"
)

// instructionsTask is short answers in a form that a program can check, with the
// columns that the reward instruction_following reads:
//
//	Give a short fact about the sea. Write in lowercase letters only.
//
// A prompt is a topic and one or two instructions. By a hash of the topic a fifth
// of the topics is held out. Rows come in the order of a hash.
var instructionsTask = Task{
	Name:   "instructions",
	About:  "short answers in a form that instruction_following checks",
	Splits: []string{"rl", "eval"},
	rows:   instructions,
}

type instruction struct {
	text, id string
	args     map[string]any
	with     int // instructions of one number do not stand together
}

var (
	askings = []string{"Write one or two sentences about %s.", "Describe %s briefly.", "Give a short fact about %s.", "Say what you like about %s, briefly."}
	topics  = []string{
		"the sea", "a cat", "winter", "bread", "the moon", "a library", "rain", "music", "a bicycle", "trees", "the sun", "a river", "tea", "mountains", "a garden",
		"birds", "a train", "honey", "the night", "a bridge", "snow", "horses", "a market", "stars", "cheese", "a lamp", "spring", "fish", "an island", "clouds",
		"a school", "apples", "the wind", "a castle", "coffee", "bees", "a harbour", "the desert", "dancing", "a clock",
	}
	demands = []instruction{
		{"Write in lowercase letters only.", "change_case:english_lowercase", map[string]any{}, 1},
		{"Write in CAPITAL letters only.", "change_case:english_capital", map[string]any{}, 1},
		{"Do not use any commas.", "punctuation:no_comma", map[string]any{}, 2},
		{"Wrap your whole answer in double quotation marks.", "startend:quotation", map[string]any{}, 3},
		{"End with the exact words: That is all.", "startend:end_checker", map[string]any{"end_phrase": "That is all."}, 3},
		{"Use the word always.", "keywords:existence", map[string]any{"keywords": []any{"always"}}, 4},
		{"Do not use the word very.", "keywords:forbidden_words", map[string]any{"forbidden_words": []any{"very"}}, 4},
		{"Use fewer than 20 words.", "length_constraints:number_words", map[string]any{"relation": "less than", "num_words": 20.0}, 5},
		{"Use at least 12 words.", "length_constraints:number_words", map[string]any{"relation": "at least", "num_words": 12.0}, 5},
		{"Begin with a title in double angular brackets, such as <<my title>>.", "detectable_format:title", map[string]any{}, 3},
	}
)

func instructions(spec grouse.DataSpec) ([]Row, error) {
	if err := onlyParams(spec); err != nil {
		return nil, err
	}
	var rows []Row
	for t, topic := range topics {
		if held := bucket("instructions|"+topic, 5) == 0; held != (spec.Split == "eval") {
			continue
		}
		for a, asking := range askings {
			for i, first := range demands {
				for j, second := range demands {
					if j < i || j > i && first.with == second.with {
						continue
					}
					id := fmt.Sprintf("%d-%d-%d-%d", t, a, i, j)
					text := fmt.Sprintf(asking, topic) + " " + first.text
					ids, kwargs := []any{first.id}, []any{first.args}
					if j > i {
						text += " " + second.text
						ids, kwargs = append(ids, second.id), append(kwargs, second.args)
					}
					rows = append(rows, Row{ID: id, Where: "task instructions " + id, Columns: map[string]any{
						"prompt": text, "instruction_id_list": ids, "kwargs": kwargs,
					}})
				}
			}
		}
	}
	return byHash(rows, "instructions|place|"), nil
}
