package code

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

// fakeFusion speaks SandboxFusion's protocol: it "runs" programs that say what is to
// become of them.
func fakeFusion(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req map[string]any
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.Method != http.MethodPost || r.URL.Path != "/run_code" {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		for _, name := range []string{"code", "language", "stdin", "run_timeout", "compile_timeout", "memory_limit_MB", "files", "fetch_files"} {
			if _, ok := req[name]; !ok {
				t.Errorf("the request has no %s", name)
			}
		}
		if req["language"] != "python" || req["run_timeout"] != 5.0 || req["memory_limit_MB"] != 512.0 {
			t.Errorf("request %v", req)
		}
		run := func(status, run string, code any, stdout string) {
			fmt.Fprintf(w, `{"status":%q,"message":"","compile_result":null,"run_result":{"status":%q,"execution_time":0.01,"return_code":%s,"stdout":%q,"stderr":""},"executor_pod_name":null,"files":{}}`,
				status, run, fmt.Sprint(code), stdout)
		}
		switch code := req["code"].(string); code {
		case "add":
			var a, b int
			fmt.Sscan(req["stdin"].(string), &a, &b)
			run("Success", "Finished", 0, fmt.Sprintln(a+b))
		case "fail":
			run("Failed", "Finished", 1, "3\n")
		case "hang":
			run("Failed", "TimeLimitExceeded", "null", "")
		case "killed":
			run("Failed", "Finished", -9, "3\n")
		case "compile":
			fmt.Fprint(w, `{"status":"Failed","message":"","compile_result":{"status":"Finished","return_code":1,"stdout":"","stderr":"main.py:1: no"},"run_result":null,"files":{}}`)
		case "broken":
			fmt.Fprint(w, `{"status":"SandboxError","message":"no worker","compile_result":null,"run_result":null,"files":{}}`)
		case "silent":
			fmt.Fprint(w, `{"status":"Success","compile_result":null,"run_result":null}`)
		case "busy":
			http.Error(w, "later", http.StatusTooManyRequests)
		case "no JSON":
			fmt.Fprint(w, "hello")
		case "elsewhere":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		default:
			run("Failed", "Error", 1, "")
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestService(t *testing.T) {
	o := Defaults()
	o.Sandbox, o.URL = "http", fakeFusion(t).URL
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	pairs := map[string]any{"tests": []any{map[string]any{"input": "1 2\n", "output": "3\n"}, map[string]any{"input": "5 5\n", "output": "10\n"}}}
	rewardtest.Run(t, r,
		rewardtest.Case{Name: "right", Columns: pairs, Completion: "add", Want: 1},
		rewardtest.Case{Name: "exit status", Columns: pairs, Completion: "fail"},
		rewardtest.Case{Name: "timeout", Columns: pairs, Completion: "hang"},
		rewardtest.Case{Name: "signal", Columns: pairs, Completion: "killed"},
		rewardtest.Case{Name: "not compiled", Columns: pairs, Completion: "compile"},
		rewardtest.Case{Name: "its failure", Columns: pairs, Completion: "broken", Error: "no worker"},
		rewardtest.Case{Name: "no result", Columns: pairs, Completion: "silent", Error: "without a result"},
		rewardtest.Case{Name: "busy", Columns: pairs, Completion: "busy", Error: "429"},
		rewardtest.Case{Name: "no JSON", Columns: pairs, Completion: "no JSON", Error: "not JSON"},
		rewardtest.Case{Name: "a redirect", Columns: pairs, Completion: "elsewhere", Error: "307"},
		rewardtest.Case{Name: "asserts", Columns: map[string]any{"tests": addTests}, Completion: "add", Error: "judge pairs of input and output only"},
	)
	for name, retry := range map[string]bool{"busy": true, "broken": true, "no JSON": false} {
		if _, err := r.Judge(context.Background(), rewards.NewTextGroup(grouse.Prompt{Columns: pairs}, name)); rewards.Retryable(err) != retry {
			t.Errorf("%s: retryable %v", name, !retry)
		}
	}
}

func TestParameters(t *testing.T) {
	for fix, params := range map[string]map[string]any{
		"set score":              {"score": "some"},
		"set tests":              {"tests": ""},
		"time_limit":             {"time_limit": -1},
		"set language":           {"command": []string{"sh", "main.sh"}, "file": "main.sh"},
		"command: [node":         {"command": []string{"sh"}, "language": "sh"},
		"sandbox: http":          {"url": "http://x"},
		"remove command":         {"sandbox": "http", "url": "http://x", "command": []string{"sh"}, "file": "a", "language": "sh"},
		"native, bwrap":          {"sandbox": "docker"},
		"http://HOST:8080":       {"sandbox": "http", "url": "ftp://x"},
		"install Python":         {"python": "/no/such/python"},
		"the parameters are com": {"timeout": 5},
		"absolute paths":         {"read_only": []string{"/proc"}},
	} {
		r, err := NewReward(params)
		if err == nil {
			r.(*Reward).Close()
			t.Errorf("%v is accepted", params)
			continue
		}
		if !strings.Contains(grouse.FixOf(err), fix) {
			t.Errorf("%v: %v → %q, want %q", params, err, grouse.FixOf(err), fix)
		}
	}
}
