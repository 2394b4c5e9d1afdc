package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rewards/rubric"
)

type judgeCmd struct {
	Dir    string `help:"Folder of the questions, as the recipe's judge block has it." type:"path" placeholder:"DIR"`
	JSON   bool   `name:"json" help:"Only list the waiting questions, one JSON object a line."`
	Answer string `help:"Answer this question, with --marks." placeholder:"ID"`
	Marks  string `help:"The marks as JSON." placeholder:"JSON"`
	Reason string `help:"Why, for the viewer." placeholder:"TEXT"`
}

// Help is shown by `grouse judge --help`.
func (c *judgeCmd) Help() string {
	return `A rubric with judge: {engine: human} asks people: each question waits, as a file below the state folder,
until somebody answers it; the run waits as long as the reward's deadline_s allows. On a terminal this asks
one question after the other: a number for each item, Enter alone skips the question, Ctrl-D ends.

Examples:
  grouse judge
  grouse judge --json
  grouse judge --answer 1f3a... --marks '{"correct": 1, "clear": 0.5}'`
}

// Run answers questions.
func (c *judgeCmd) Run(a *app) error {
	dir := c.Dir
	if dir == "" {
		dir = worker.JudgeDir(a.home)
	}
	open, err := rubric.Open(dir)
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		for _, w := range open {
			if err := a.line(w); err != nil {
				return err
			}
		}
		return nil
	case c.Answer != "":
		return c.answer(a, dir, open)
	case len(open) == 0:
		fmt.Fprintf(a.stderr, "no question waits in %s\n", dir)
		return nil
	}
	return ask(a, os.Stdin, dir, open)
}

func (c *judgeCmd) answer(a *app, dir string, open []rubric.Waiting) error {
	var marks map[string]float64
	if err := json.Unmarshal([]byte(c.Marks), &marks); err != nil {
		return grouse.Errorf(grouse.Invalid, "--marks: %w", err).WithFix(`write --marks '{"ITEM": 1}'`)
	}
	for _, w := range open {
		if w.ID == c.Answer {
			return rubric.Answer(dir, w, marks, c.Reason)
		}
	}
	return grouse.Errorf(grouse.NotFound, "no question %s waits in %s", c.Answer, dir).WithFix("`grouse judge --json` lists them")
}

// ask asks a person, question after question.
func ask(a *app, in io.Reader, dir string, open []rubric.Waiting) error {
	lines := bufio.NewScanner(in)
	for n, w := range open {
		fmt.Fprintf(a.stdout, "── %d of %d, asked %s\n%s\n", n+1, len(open), w.Asked.Local().Format("2006-01-02 15:04"), printable(w.User))
		marks, done, err := askMarks(a, lines, w)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		if marks == nil {
			continue
		}
		fmt.Fprint(a.stdout, "why (may be empty): ")
		lines.Scan()
		if err := rubric.Answer(dir, w, marks, strings.TrimSpace(lines.Text())); err != nil {
			fmt.Fprintf(a.stderr, "grouse: %v\n", err) // somebody else was faster: the next one
		}
	}
	return nil
}

// askMarks asks for a mark of each item; nil marks: skipped.
func askMarks(a *app, lines *bufio.Scanner, w rubric.Waiting) (marks map[string]float64, done bool, err error) {
	marks = map[string]float64{}
	for _, it := range w.Items {
		want, top := "0 or 1", 1.0
		switch it.Kind {
		case rubric.Scale:
			want = "0 to 1"
		case rubric.Levels:
			want, top = fmt.Sprintf("1 to %d", len(it.Levels)), float64(len(it.Levels))
		}
		for {
			fmt.Fprintf(a.stdout, "%s: %s [%s] ", it.ID, visible(it.Text), want)
			if !lines.Scan() {
				fmt.Fprintln(a.stdout)
				return nil, true, lines.Err()
			}
			text := strings.TrimSpace(lines.Text())
			if text == "" {
				return nil, false, nil
			}
			v, err := strconv.ParseFloat(text, 64)
			if err == nil && v >= 0 && v <= top && (it.Kind == rubric.Scale || v == float64(int(v))) && !(it.Kind == rubric.Levels && v < 1) {
				marks[it.ID] = v
				break
			}
			fmt.Fprintf(a.stdout, "a number, %s\n", want)
		}
	}
	return marks, false, nil
}
