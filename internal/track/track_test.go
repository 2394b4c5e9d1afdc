package track

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
)

// lines is a source in memory that can grow.
type lines struct {
	mu   sync.Mutex
	list []Point
}

func (l *lines) Points(row int64, limit int) ([]Point, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.list[min(int(row), len(l.list)):]
	return append([]Point(nil), rest[:min(limit, len(rest))]...), nil
}

func (l *lines) Samples(stage int, step int64, limit int) []Sample {
	half := 0.5
	return []Sample{{RowID: "row-1", Prompt: "47+85=", Completion: "<think>```</think>132", Reward: &half, Explanation: "right, but too long"},
		{RowID: "row-2", Prompt: "1+1=", Completion: "3"}}[:min(limit, 2)]
}

func (l *lines) Close() error { return nil }

// add appends n points of a run that begins with sft and goes on with rl.
func (l *lines) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		i := int64(len(l.list))
		p := Point{Row: i, Kind: "step", Stage: 1, StageName: "rl", Step: i - 1, Global: i + 19, At: time.UnixMilli(1_700_000_000_000 + 1500*i),
			Metrics: grouse.Metrics{"reward": float64(i) / 8, "kl": 0.25, "kl/math": 0.125}, Times: grouse.Metrics{"time/train_s": 0.5}}
		switch i {
		case 0:
			p.Kind, p.Stage, p.StageName, p.Step, p.Global, p.Metrics = "sft", 0, "sft", 20, 20, grouse.Metrics{"loss": 1.5}
		case 1:
			p.Kind, p.Step, p.Global, p.Metrics, p.Times = "eval", 0, 20, grouse.Metrics{"eval/avg@4": 0.75}, nil
		case 3:
			p.Metrics["reward"], p.Metrics["kl"] = math.NaN(), math.Inf(1)
		}
		l.list = append(l.list, p)
	}
}

// testRun is a run with a folder of its own.
func testRun(t *testing.T) Run {
	t.Helper()
	return Run{Name: "demo", Recipe: "seed: 7\n", Dir: t.TempDir(), Spec: grouse.RunSpec{Name: "demo", Seed: 7, Description: "a run",
		Stages:   []grouse.Stage{{Name: "sft", Kind: grouse.StageSFT, Steps: 20}, {Name: "rl", Kind: grouse.StageRL, Steps: 6}},
		Trackers: []grouse.TrackerSpec{{Use: "wandb", Params: map[string]any{"key": "env:GROUSE_TEST_KEY"}}}}}
}

// fast is the usual pace in a thousandth of the time.
var fast = pace{between: time.Millisecond, retry: time.Millisecond, most: 10 * time.Millisecond, beat: 20 * time.Millisecond, grace: 2 * time.Second}

// report runs one tracker over what the source has, from start to close.
func report(t *testing.T, run Run, source *lines, finished bool, spec grouse.TrackerSpec) (warnings []string) {
	t.Helper()
	var mu sync.Mutex
	s, err := start([]grouse.TrackerSpec{spec}, run, Options{Source: func() Source { return source }, Warn: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, text)
	}}, fast)
	if err != nil {
		t.Fatal(err)
	}
	s.Wake()
	s.Close(finished)
	return warnings
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not within 2 s: %s", what)
}

func TestParametersAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		use    string
		params map[string]any
		want   string // "" none
	}{
		"nothing":                   {"tensorboard", nil, ""},
		"all of tensorboard":        {"tensorboard", map[string]any{"dir": "tb", "samples": 0, "every": 5}, ""},
		"a key by reference":        {"wandb", map[string]any{"key": "env:WANDB_API_KEY", "project": "p", "tags": []any{"a"}}, ""},
		"a key in a file":           {"wandb", map[string]any{"key": "file:/run/secrets/wandb"}, ""},
		"a server of one's own":     {"wandb", map[string]any{"key": "env:K", "base_url": "http://127.0.0.1:8080"}, ""},
		"an unknown tracker":        {"comet", nil, "tensorboard, wandb"},
		"an unknown key":            {"wandb", map[string]any{"projekt": "p"}, `no parameter "projekt"`},
		"a wrong type":              {"tensorboard", map[string]any{"samples": "many"}, "samples: want a int"},
		"a key written out":         {"wandb", map[string]any{"key": "0123456789abcdef"}, "by reference"},
		"env without a name":        {"wandb", map[string]any{"key": "env:"}, "by reference"},
		"base_url without a key":    {"wandb", map[string]any{"base_url": "https://wandb.example"}, "no effect"},
		"a key in the clear":        {"wandb", map[string]any{"key": "env:K", "base_url": "http://wandb.example"}, "unencrypted"},
		"a password in the address": {"mlflow", map[string]any{"uri": "https://me:secret@mlflow.example"}, "password in the address"},
		"a token written out":       {"mlflow", map[string]any{"uri": "https://mlflow.example", "token": "abc"}, "by reference"},
		"a token for files":         {"mlflow", map[string]any{"uri": "file:./runs", "token": "env:T"}, "no effect"},
		"half a login":              {"mlflow", map[string]any{"uri": "https://mlflow.example", "username": "me"}, "only one"},
		"another store":             {"mlflow", map[string]any{"uri": "sqlite:///x.db"}, "uri"},
		"prometheus for everybody":  {"prometheus", map[string]any{"listen": "0.0.0.0:9464"}, "loopback"},
		"prometheus on loopback":    {"prometheus", map[string]any{"listen": "[::1]:0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(grouse.TrackerSpec{Use: c.use, Params: c.params})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error()+grouse.FixOf(err), c.want) {
				t.Fatalf("got %v, want Invalid with %q", err, c.want)
			}
			for _, secret := range []string{"0123456789abcdef", "secret@"} {
				if strings.Contains(err.Error()+grouse.FixOf(err), secret) {
					t.Errorf("the message shows a secret: %v", err)
				}
			}
		})
	}
}

func TestASecretIsRead(t *testing.T) {
	run := testRun(t)
	run.Base = run.Dir
	t.Setenv("GROUSE_TEST_KEY", " from-env\n")
	if err := os.WriteFile(filepath.Join(run.Dir, "key"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[secretRef]string{"env:GROUSE_TEST_KEY": "from-env", "file:key": "from-file", "": "", "env:GROUSE_TEST_NONE": ""} {
		if got, err := ref.read(&run); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", ref, got, err, want)
		}
	}
	if _, err := secretRef("file:gone").read(&run); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// What goes to a tracker as the run's configuration has no reference to secrets.
func TestConfigHasNoTrackers(t *testing.T) {
	run := testRun(t)
	config, err := run.config()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "GROUSE_TEST_KEY") || !strings.Contains(string(raw), `"seed":7`) {
		t.Errorf("got %s", raw)
	}
}
