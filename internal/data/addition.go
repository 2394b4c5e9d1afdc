package data

import (
	"fmt"
	"strings"
	"sync"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/rng"
)

// additionTask is sums of two numbers of two digits: all 10,000 problems. The
// worked example reasons digit by digit, in R1's tags; from the second digit on it
// looks the sum up before it adds the carry:
//
//	47+85=   <think>7+5=12;4+8=12;13</think><answer>132</answer>
//
// By a hash of the problem 4.5% are for supervised fine-tuning, 5.5% held out,
// the rest is for reinforcement learning. Rows come in the order of that hash, so
// that a limit takes problems of all kinds.
//
// Parameters: shown, how many of the 100 sums of two digits the sft split's
// examples contain, 1 to 100 (100): the others a policy must find out by itself;
// digits, 1 to 9 (2); problems, how many are drawn of those of three
// digits and more, 1,000 to 1,000,000 (20,000). One and two digits give all.
var additionTask = Task{
	Name:   "addition",
	About:  "sums of two numbers (digits: 2) with a short scratchpad",
	Splits: []string{"sft", "rl", "eval"},
	rows:   addition,
}

func addition(spec grouse.DataSpec) ([]Row, error) {
	if err := onlyParams(spec, "digits", "problems", "shown"); err != nil {
		return nil, err
	}
	digits, err := intParam(spec, "digits", 2, 1, 9)
	if err != nil {
		return nil, err
	}
	drawn, err := intParam(spec, "problems", 20_000, 1_000, 1_000_000)
	if err != nil {
		return nil, err
	}
	shown, err := intParam(spec, "shown", 100, 1, 100)
	if err != nil {
		return nil, err
	}
	if shown < 100 && spec.Split != "sft" {
		return nil, grouse.Errorf(grouse.Invalid, "data: task addition: shown has no effect on split %s", spec.Split).WithFix("remove it: only worked examples (split sft) show sums")
	}
	if _, given := spec.Params["problems"]; given && digits < 3 {
		return nil, grouse.Errorf(grouse.Invalid, "data: task addition: problems has no effect with %d digits: all are used", digits).WithFix("remove it, or set digits: 3 or more")
	}
	var rows []Row
	add := func(a, b int) {
		if r := additionRow(a, b, digits); additionSplit(r.ID) == spec.Split && showsOnly(a, b, digits, shown) {
			rows = append(rows, r)
		}
	}
	limit := 1
	for range digits {
		limit *= 10
	}
	if digits < 3 {
		for a := range limit {
			for b := range limit {
				add(a, b)
			}
		}
		return byHash(rows, "addition|"), nil
	}
	stream := rng.NewKey(rng.Data, "addition", uint64(digits)).Stream(0, 0, 0)
	seen := make(map[[2]int]bool, drawn)
	for len(seen) < drawn && len(seen) < limit*limit/2 {
		p := [2]int{int(stream.Below(uint64(limit))), int(stream.Below(uint64(limit)))}
		if !seen[p] {
			seen[p] = true
			add(p[0], p[1])
		}
	}
	return rows, nil
}

// showsOnly reports whether every two digits that a + b adds are among the first
// of the 100 pairs in the order of their hashes.
func showsOnly(a, b, digits, shown int) bool {
	for ; digits > 0; digits, a, b = digits-1, a/10, b/10 {
		if pairPlace()[a%10*10+b%10] >= shown {
			return false
		}
	}
	return true
}

// pairPlace returns the place of each pair of digits in the order of hashes.
var pairPlace = sync.OnceValue(func() (place [100]int) {
	var hash [100]uint64
	for p := range hash {
		hash[p] = bucket(fmt.Sprintf("addition|pair|%d+%d", p/10, p%10), 1<<62)
	}
	for p := range hash {
		for q := range hash {
			if hash[q] < hash[p] {
				place[p]++
			}
		}
	}
	return place
})

func additionSplit(problem string) string {
	switch h := bucket("addition|"+problem, 1000); {
	case h < 45:
		return "sft"
	case h < 100:
		return "eval"
	}
	return "rl"
}

func additionRow(a, b, digits int) Row {
	problem := fmt.Sprintf("%0*d+%0*d", digits, a, digits, b)
	var steps []string
	carry := 0
	for i, x, y := 0, a, b; i < digits; i, x, y = i+1, x/10, y/10 {
		sum := x%10 + y%10 + carry
		if i == 0 {
			steps = append(steps, fmt.Sprintf("%d+%d=%02d", x%10, y%10, sum))
		} else {
			steps = append(steps, fmt.Sprintf("%d+%d=%02d;%02d", x%10, y%10, x%10+y%10, sum))
		}
		carry = sum / 10
	}
	return Row{ID: problem, Where: "task addition " + problem, Columns: map[string]any{
		"prompt":     problem + "=",
		"completion": fmt.Sprintf("<think>%s</think><answer>%d</answer>", strings.Join(steps, ";"), a+b),
		"answer":     fmt.Sprint(a + b),
	}}
}
