package starters_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/starters"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/builtin"
)

// command runs a program in a folder.
func command(t *testing.T, dir string, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// judge holds a reward to the cases that were written with it.
func judge(t *testing.T, dir, use string, params map[string]any) {
	t.Helper()
	r, err := builtin.Registry().New(use, params)
	if err != nil {
		t.Fatal(err)
	}
	defer (&rewards.Composite{Parts: []rewards.Part{{Reward: r}}}).Close()
	f, err := os.Open(filepath.Join(dir, "cases.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var row map[string]any
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		got, err := rewards.Call(context.Background(), r, rewards.NewTextGroup(grouse.Prompt{Columns: row}, row["completion"].(string)), time.Minute)
		if err != nil || got[0].Value != row["want"] {
			t.Errorf("%s: %+v, %v", lines.Text(), got, err)
		}
	}
	if n < 4 {
		t.Errorf("%d cases", n)
	}
}

// needPython says what is missing, where rewards in Python cannot be tried.
func needPython(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("NOT TESTED: rewards in Python, for want of python3 on this machine (apt install python3)")
	}
}

// module makes the starter's go.mod one that finds this checkout, without a network.
func module(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod := strings.Replace(string(data), "module github.com/grouse-rl/grouse", "module mine", 1)
	mod = strings.ReplaceAll(mod, "=> ./", "=> "+root+"/") + "\nrequire github.com/grouse-rl/grouse v0.0.0\n\nreplace github.com/grouse-rl/grouse => " + root + "\n"
	for name, text := range map[string]string{"go.mod": mod, "go.sum": string(sum)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStarters writes a starter of each kind, runs its own test, and has it judge its
// cases through the form that it is for.
func TestStarters(t *testing.T) {
	for _, kind := range starters.Kinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			files, err := starters.Write(dir, kind, "mine")
			if err != nil {
				t.Fatal(err)
			}
			if len(files) < 3 {
				t.Errorf("files %v", files)
			}
			for _, f := range files {
				data, err := os.ReadFile(filepath.Join(dir, f))
				if err != nil || strings.Contains(string(data), "NAME") {
					t.Errorf("%s still has NAME in it (%v)", f, err)
				}
			}
			switch kind {
			case "go", "wasm":
				if kind == "go" {
					module(t, dir)
				}
				command(t, dir, []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0"}, "go", "test", ".")
				if kind == "go" {
					command(t, dir, []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0"}, "go", "build", "-o", "mine", ".")
					judge(t, dir, "exec", map[string]any{"command": []any{filepath.Join(dir, "mine")}})
					return
				}
				command(t, dir, []string{"GOOS=wasip1", "GOARCH=wasm"}, "go", "build", "-o", "mine.wasm", ".")
				judge(t, dir, "wasm", map[string]any{"file": filepath.Join(dir, "mine.wasm")})
				return
			}
			needPython(t)
			command(t, dir, nil, "python3", "-m", "unittest", "-q")
			switch kind {
			case "python", "verl":
				judge(t, dir, "python", map[string]any{"file": filepath.Join(dir, "mine.py"), "function": map[string]string{"python": "mine", "verl": "compute_score"}[kind]})
			case "exec":
				judge(t, dir, "exec", map[string]any{"command": []any{filepath.Join(dir, "mine.py")}})
			case "http":
				t.Setenv("TEST_REWARD_SECRET", "s")
				url := serve(t, dir, "s")
				judge(t, dir, "http", map[string]any{"url": url, "secret_env": "TEST_REWARD_SECRET"})
				t.Setenv("TEST_REWARD_SECRET", "another")
				r, err := builtin.Registry().New("http", map[string]any{"url": url, "secret_env": "TEST_REWARD_SECRET"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := rewards.Call(context.Background(), r, rewards.NewTextGroup(grouse.Prompt{}, "4"), time.Minute); err == nil || !strings.Contains(err.Error(), "403") {
					t.Errorf("a wrong signature: %v", err)
				}
			}
		})
	}
}

// serve starts the HTTP starter on a free port and returns its address.
func serve(t *testing.T, dir, secret string) string {
	t.Helper()
	cmd := exec.Command("python3", "mine.py", "0")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GROUSE_REWARD_SECRET="+secret)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !ok {
		t.Fatalf("the server said %q, %v", line, err)
	}
	return "http://127.0.0.1:" + port + "/"
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	for _, c := range [][2]string{{"cobol", "mine"}, {"python", "My-Reward"}, {"python", ""}, {"python", "../x"}} {
		if _, err := starters.Write(dir, c[0], c[1]); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := starters.Write(dir, "python", "mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := starters.Write(dir, "python", "mine"); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("a file was overwritten: %v", err)
	}
}
