package data

import (
	"fmt"

	"github.com/grouse-rl/grouse"
)

// additionTask is all sums of two numbers of two digits, 10,000 problems. The
// worked example reasons digit by digit, in R1's tags:
//
//	47+85=   <think>7+5=12;4+8+1=13</think><answer>132</answer>
//
// By a hash of the problem 4.5% are for supervised fine-tuning, 5.5% held out,
// the rest is for reinforcement learning.
var additionTask = Task{
	Name:   "addition",
	About:  "sums of two two-digit numbers with a short scratchpad",
	Splits: []string{"sft", "rl", "eval"},
	rows:   addition,
}

func addition(spec grouse.DataSpec) ([]Row, error) {
	if err := onlyParams(spec); err != nil {
		return nil, err
	}
	var rows []Row
	for a := range 100 {
		for b := range 100 {
			problem := fmt.Sprintf("%02d+%02d", a, b)
			split := "rl"
			switch h := bucket("addition|"+problem, 1000); {
			case h < 45:
				split = "sft"
			case h < 100:
				split = "eval"
			}
			if split != spec.Split {
				continue
			}
			units := a%10 + b%10
			tens := a/10 + b/10 + units/10
			rows = append(rows, Row{ID: problem, Where: "task addition " + problem, Columns: map[string]any{
				"prompt":     problem + "=",
				"completion": fmt.Sprintf("<think>%d+%d=%02d;%d+%d+%d=%02d</think><answer>%d</answer>", a%10, b%10, units, a/10, b/10, units/10, tens, a+b),
				"answer":     fmt.Sprint(a + b),
			}})
		}
	}
	return rows, nil
}
