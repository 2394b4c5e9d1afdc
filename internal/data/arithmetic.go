package data

import (
	"fmt"

	"github.com/grouse-rl/grouse"
)

// arithmeticTask is sums and differences, bare and told in words, of one and two
// steps:
//
//	What is 7 + 12? Answer with just the number.
//	Mia has 7 shells. She gives 3 to Leo, then finds 12 more. How many shells does Mia
//	have now? Answer with just the number.
//
// A problem is its kind and its numbers; who it tells of follows from the seed. By
// a hash of the problem a fifth is held out, so that no held-out problem is met in
// training under other names. Every kind has about as many problems. Rows come in
// the order of that hash.
//
// Parameters: max, the largest number, 5 to 100 (20); seed of the names (1).
var arithmeticTask = Task{
	Name:   "arithmetic",
	About:  "sums and differences (max: 20), bare and told in words",
	Splits: []string{"rl", "eval"},
	rows:   arithmetic,
}

var (
	people = []struct{ name, they string }{
		{"Mia", "She"}, {"Leo", "He"}, {"Ada", "She"}, {"Omar", "He"}, {"Ines", "She"}, {"Jonas", "He"}, {"Priya", "She"}, {"Chen", "He"},
		{"Nora", "She"}, {"Felix", "He"}, {"Zoe", "She"}, {"Amir", "He"}, {"Ruth", "She"}, {"Pablo", "He"}, {"Hana", "She"}, {"Kofi", "He"},
	}
	things = []string{"apples", "marbles", "stamps", "shells", "books", "coins", "pencils", "stickers", "cards", "buttons", "plums", "stones"}
)

// story is who and what a problem tells of.
type story struct{ p, they, q, things string }

// arithmeticKinds say how a problem is asked and answered. An answer below zero
// means that the numbers make no sense.
var arithmeticKinds = []struct {
	name    string
	numbers int
	ask     func(s story, a, b, c int) (string, int)
}{
	{"sum", 2, func(s story, a, b, _ int) (string, int) {
		return fmt.Sprintf("What is %d + %d?", a, b), a + b
	}},
	{"difference", 2, func(s story, a, b, _ int) (string, int) {
		return fmt.Sprintf("What is %d - %d?", a, b), a - b
	}},
	{"buy", 2, func(s story, a, b, _ int) (string, int) {
		return fmt.Sprintf("%s has %d %s and buys %d more. How many %s does %s have?", s.p, a, s.things, b, s.things, s.p), a + b
	}},
	{"give", 2, func(s story, a, b, _ int) (string, int) {
		return fmt.Sprintf("%s has %d %s and gives %d to %s. How many %s does %s have now?", s.p, a, s.things, b, s.q, s.things, s.p), a - b
	}},
	{"give-find", 3, func(s story, a, b, c int) (string, int) {
		if b > a {
			return "", -1
		}
		return fmt.Sprintf("%s has %d %s. %s gives %d to %s, then finds %d more. How many %s does %s have now?", s.p, a, s.things, s.they, b, s.q, c, s.things, s.p), a - b + c
	}},
	{"find-give", 3, func(s story, a, b, c int) (string, int) {
		return fmt.Sprintf("%s has %d %s. %s finds %d more, then gives %d to %s. How many %s does %s have now?", s.p, a, s.things, s.they, b, c, s.q, s.things, s.p), a + b - c
	}},
}

func arithmetic(spec grouse.DataSpec) ([]Row, error) {
	if err := onlyParams(spec, "max", "seed"); err != nil {
		return nil, err
	}
	top, err := intParam(spec, "max", 20, 5, 100)
	if err != nil {
		return nil, err
	}
	seed, err := intParam(spec, "seed", 1, 0, 1<<30)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, kind := range arithmeticKinds {
		thirds := []int{0}
		if kind.numbers == 3 {
			thirds = thirds[:0]
			for c := 2; c <= top; c++ {
				thirds = append(thirds, c)
			}
		}
		for a := 2; a <= top; a++ {
			for b := 2; b <= top; b++ {
				for _, c := range thirds {
					id := fmt.Sprintf("%s-%d-%d-%d", kind.name, a, b, c)
					problem := "arithmetic|" + id
					if held := bucket(problem, 5) == 0; held != (spec.Split == "eval") {
						continue
					}
					if len(thirds) > 1 && bucket("draw|"+problem, uint64(len(thirds))) > 0 {
						continue // as many as there are of two numbers
					}
					text, answer := kind.ask(tell(fmt.Sprintf("%s|%d", problem, seed)), a, b, c)
					if answer < 0 {
						continue
					}
					rows = append(rows, Row{ID: id, Where: "task arithmetic " + id, Columns: map[string]any{
						"prompt": text + " Answer with just the number.", "answer": fmt.Sprint(answer), "kind": kind.name,
					}})
				}
			}
		}
	}
	return byHash(rows, "place|arithmetic|"), nil
}

// tell draws two people and things by the hash of a key.
func tell(key string) story {
	p := bucket("p|"+key, uint64(len(people)))
	q := (p + 1 + bucket("q|"+key, uint64(len(people)-1))) % uint64(len(people))
	return story{people[p].name, people[p].they, people[q].name, things[bucket("things|"+key, uint64(len(things)))]}
}
