package code

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/sandbox"
)

// service runs programs in a service that speaks SandboxFusion's protocol: POST
// URL/run_code. The service isolates; the comparison stays here.
type service struct {
	url, language string
	limits        sandbox.Limits
	client        *http.Client
}

func newService(base, language string, limits sandbox.Limits) (*service, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, grouse.Errorf(grouse.Invalid, "url %q", base).WithFix("set url to http://HOST:8080, where a SandboxFusion service listens")
	}
	target := strings.TrimSuffix(base, "/")
	if !strings.HasSuffix(target, "/run_code") {
		target += "/run_code"
	}
	return &service{url: target, language: language, limits: limits, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// runCode is the request of /run_code.
type runCode struct {
	Code        string            `json:"code"`
	Language    string            `json:"language"`
	Stdin       string            `json:"stdin"`
	CompileTime float64           `json:"compile_timeout"`
	RunTime     float64           `json:"run_timeout"`
	MemoryMB    int64             `json:"memory_limit_MB"`
	Files       map[string]string `json:"files"`
	Fetch       []string          `json:"fetch_files"`
}

// ranCode is its answer.
type ranCode struct {
	Status  string      `json:"status"` // Success | Failed | SandboxError
	Message string      `json:"message"`
	Compile *commandRun `json:"compile_result"`
	Run     *commandRun `json:"run_result"`
}

type commandRun struct {
	Status string `json:"status"` // Finished | Error | TimeLimitExceeded
	Code   *int   `json:"return_code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

func (s *service) run(ctx context.Context, program, input []byte) (sandbox.Result, error) {
	seconds := math.Ceil(s.limits.Time.Seconds()*1000) / 1000
	body, err := json.Marshal(runCode{
		Code: string(program), Language: s.language, Stdin: string(input), CompileTime: max(seconds, 10), RunTime: seconds, MemoryMB: s.limits.Memory >> 20, Files: map[string]string{}, Fetch: []string{},
	})
	if err != nil {
		return sandbox.Result{}, rewards.Fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.Time+90*time.Second) // its queue is not the program's time
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return sandbox.Result{}, rewards.Fail(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return sandbox.Result{}, rewards.TryAgain(fmt.Errorf("sandbox service: %w", err))
	}
	defer resp.Body.Close()
	limit := 2*int64(s.limits.Output) + 1<<20
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return sandbox.Result{}, rewards.TryAgain(fmt.Errorf("sandbox service: read its answer: %w", err))
	case int64(len(data)) > limit:
		return sandbox.Result{End: sandbox.TooMuchSaid}, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return sandbox.Result{}, rewards.TryAgain(fmt.Errorf("sandbox service: %s: %s", resp.Status, shorten(string(data))))
	case resp.StatusCode != http.StatusOK:
		return sandbox.Result{}, rewards.Fail(fmt.Errorf("sandbox service: %s: %s", resp.Status, shorten(string(data))))
	}
	var answer ranCode
	if err := json.Unmarshal(data, &answer); err != nil {
		return sandbox.Result{}, rewards.Failf(grouse.BadOutput, "sandbox service: its answer is not JSON of run_code: %w", err)
	}
	return answer.result()
}

// result makes a Result of a service's answer. What it cannot judge is an error.
func (a *ranCode) result() (sandbox.Result, error) {
	ended := a.Run
	if a.Compile != nil && (a.Compile.Status != "Finished" || a.Compile.Code != nil && *a.Compile.Code != 0) {
		ended = a.Compile
	}
	if a.Status == "SandboxError" {
		return sandbox.Result{}, rewards.TryAgain(fmt.Errorf("sandbox service: %s", shorten(a.Message)))
	}
	if ended == nil || a.Status != "Success" && a.Status != "Failed" {
		return sandbox.Result{}, rewards.Failf(grouse.BadOutput, "sandbox service: status %q without a result: %s", a.Status, shorten(a.Message))
	}
	r := sandbox.Result{Stdout: []byte(ended.Stdout), Stderr: []byte(ended.Stderr)}
	switch ended.Status {
	case "TimeLimitExceeded":
		r.End = sandbox.TimedOut
	case "Finished", "Error":
		if ended.Code == nil {
			return sandbox.Result{}, rewards.Failf(grouse.BadOutput, "sandbox service: %s without a return code", ended.Status)
		}
		if r.End, r.Code = sandbox.Exited, *ended.Code; r.Code < 0 {
			r.End, r.Code = sandbox.Signaled, -r.Code
		}
		if a.Status == "Failed" && r.OK() {
			return sandbox.Result{}, rewards.Failf(grouse.BadOutput, "sandbox service: Failed, with return code 0")
		}
	default:
		return sandbox.Result{}, rewards.Failf(grouse.BadOutput, "sandbox service: run status %q", ended.Status)
	}
	return r, nil
}

// Close closes idle connections.
func (s *service) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
