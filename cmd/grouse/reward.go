package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/worker"
	"github.com/grouse-rl/grouse/rewards"
)

type rewardCmd struct {
	List rewardListCmd `cmd:"" help:"The rewards there are, with their parameters."`
	Test rewardTestCmd `cmd:"" help:"Try a reward on completions from a file."`
	New  rewardNewCmd  `cmd:"" help:"Write a reward of your own to start from, with its test."`
}

type rewardListCmd struct {
	JSON bool `name:"json" help:"One JSON object a line."`
}

// Run lists the rewards.
func (c *rewardListCmd) Run(a *app) error {
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, e := range worker.Rewards(a.home, nil).Entries() {
		if c.JSON {
			if err := a.line(map[string]any{"name": e.Name, "doc": e.Doc, "usage": e.Usage, "pure": e.Pure}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t, "%s\t%s\n\t%s\n", e.Name, e.Doc, e.Usage)
	}
	return t.Flush()
}

type rewardTestCmd struct {
	Name     string        `arg:"" help:"A reward's name, or the file of one: .py (TRL's or verl's signature), .wasm, or a program that reads a JSON line and writes one."`
	Data     string        `required:"" help:"JSON lines with completion and any columns; - for standard input." placeholder:"FILE"`
	Param    []string      `help:"A parameter of the reward: --param column=label. The value is JSON, or else text." placeholder:"K=V" sep:"none"`
	Deadline time.Duration `help:"For one completion." placeholder:"TIME"`
	Repeat   int           `help:"Judge everything this often; two results that differ are not deterministic." default:"2"`
	JSON     bool          `name:"json" help:"One JSON object a line, nothing else."`
}

// Help is shown by `grouse reward test --help`.
func (c *rewardTestCmd) Help() string {
	return `Each line of the file has completion (a text, or a list of texts: a group) and the columns that the
reward reads, such as answer. Lines with the same group (or row id) are one group for the count of
groups without variance. Exit code 5 if a completion could not be judged or two results differ.

Examples:
  grouse reward test math --data cases.jsonl
  grouse reward test my_rewards.py --data cases.jsonl --param function=accuracy
  grouse reward test exact --data cases.jsonl --param column=label --json`
}

// Run judges the file's completions and tells of it.
func (c *rewardTestCmd) Run(a *app) error {
	name, params, err := c.reward()
	if err != nil {
		return err
	}
	registry := worker.Rewards(a.home, nil)
	entry, err := registry.Lookup(name)
	if err != nil {
		return err
	}
	reward, err := registry.New(name, params)
	if err != nil {
		return err
	}
	composite := &rewards.Composite{Parts: []rewards.Part{{Name: name, Reward: reward, Weight: 1}}}
	defer composite.Close()
	cases, err := readCases(c.Data)
	if err != nil {
		return err
	}
	deadline := entry.Deadline
	if c.Deadline > 0 {
		deadline = c.Deadline
	}
	report := testReport{entry: entry}
	for i, k := range cases {
		line := judgeCase(a, reward, i, k, deadline)
		for n := 1; n < c.Repeat && line.Error == nil && !line.Differs; n++ {
			again := judgeCase(a, reward, i, k, deadline)
			line.Differs = !line.same(again)
		}
		report.add(k, line)
		if c.JSON {
			if err := a.line(line); err != nil {
				return err
			}
		} else {
			line.print(a)
		}
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
	}
	if !c.JSON {
		report.print(a)
	}
	if report.errors+report.differ > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// reward says which reward is meant, and with which parameters.
func (c *rewardTestCmd) reward() (name string, params map[string]any, err error) {
	name, params = c.Name, map[string]any{}
	for _, p := range c.Param {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return "", nil, grouse.Errorf(grouse.Invalid, "--param %s: want key=value", p).WithFix("for example --param column=answer")
		}
		var value any
		if json.Unmarshal([]byte(v), &value) != nil {
			value = v
		}
		params[k] = value
	}
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return name, params, nil // a name
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", nil, err
	}
	switch filepath.Ext(name) {
	case ".py":
		params["file"] = path
		if params["function"] == nil {
			if params["function"], err = onlyFunction(path); err != nil {
				return "", nil, err
			}
		}
		return "python", params, nil
	case ".wasm":
		params["file"] = path
		return "wasm", params, nil
	}
	if info.Mode()&0o111 == 0 {
		return "", nil, grouse.Errorf(grouse.Invalid, "%s is neither .py nor .wasm, and cannot be executed", name).WithFix("chmod +x %s, if it reads a JSON line and writes one", name)
	}
	params["command"] = []any{path}
	return "exec", params, nil
}

// onlyFunction returns the name of the one public function of a Python file, as far as
// its lines at the margin say.
func onlyFunction(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var names []string
	for _, line := range strings.Split(string(data), "\n") {
		line = strings.TrimPrefix(line, "async ")
		if rest, ok := strings.CutPrefix(line, "def "); ok && !strings.HasPrefix(rest, "_") {
			name, _, _ := strings.Cut(rest, "(")
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) != 1 {
		return "", grouse.Errorf(grouse.Invalid, "%s has the functions %s", path, strings.Join(names, ", ")).WithFix("name the one that is the reward: --param function=NAME")
	}
	return names[0], nil
}

// testCase is a line of the file.
type testCase struct {
	group       string
	prompt      grouse.Prompt
	completions []string
}

// readCases reads the file.
func readCases(path string) ([]testCase, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, grouse.Errorf(grouse.NotFound, "data: %w", err)
		}
		defer f.Close()
	}
	var out []testCase
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<16), 64<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		bad := func(format string, args ...any) error {
			return grouse.Errorf(grouse.Invalid, "%s:%d: %s", path, n, fmt.Sprintf(format, args...)).WithFix(`write {"completion": "...", "answer": "..."}`)
		}
		var row map[string]any
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, bad("%v", err)
		}
		k := testCase{group: fmt.Sprint(n), prompt: grouse.Prompt{RowID: fmt.Sprintf("%s/%d", filepath.Base(path), n), Columns: row}}
		switch v := row["completion"].(type) {
		case string:
			k.completions = []string{v}
		case []any:
			for _, x := range v {
				s, ok := x.(string)
				if !ok {
					return nil, bad("a completion is %v, not a text", x)
				}
				k.completions = append(k.completions, s)
			}
		}
		if len(k.completions) == 0 {
			return nil, bad("no completion")
		}
		if text, ok := row["prompt"].(string); ok {
			k.prompt.Text = text
		}
		for _, key := range []string{"id", "group"} {
			if v, ok := row[key]; ok {
				k.group = fmt.Sprint(v)
			}
		}
		delete(row, "completion")
		out = append(out, k)
	}
	if err := lines.Err(); err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "%s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, grouse.Errorf(grouse.Invalid, "%s has no lines", path)
	}
	return out, nil
}
