package http_test

import (
	"context"
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/http"
	"github.com/grouse-rl/grouse/rewards/jsonapi"
	"github.com/grouse-rl/grouse/rewards/rewardtest"
)

// judge scores 1 for the completion "right".
func judge(w nethttp.ResponseWriter, r *nethttp.Request) {
	var req jsonapi.Request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		nethttp.Error(w, err.Error(), nethttp.StatusBadRequest)
		return
	}
	scores := []float64{}
	for _, c := range req.Completions {
		v := 0.0
		if c.Text == "right" {
			v = 1
		}
		scores = append(scores, v)
	}
	json.NewEncoder(w).Encode(map[string]any{"scores": scores})
}

func serve(t *testing.T, f nethttp.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

func endpoint(t *testing.T, params map[string]any) rewards.Reward {
	t.Helper()
	r, err := http.NewReward(params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.(*http.Endpoint).Close() })
	return r
}

func group(texts ...string) *rewards.Group { return rewards.NewTextGroup(grouse.Prompt{}, texts...) }

func TestSuite(t *testing.T) {
	rewardtest.Run(t, endpoint(t, map[string]any{"url": serve(t, judge)}), rewardtest.Case{Name: "right", Completion: "right", Want: 1}, rewardtest.Case{Name: "wrong", Completion: "wrong", Want: 0})
}

func TestWhatGoesWrongIsNamed(t *testing.T) {
	say := func(code int, body string) nethttp.HandlerFunc {
		return func(w nethttp.ResponseWriter, _ *nethttp.Request) { w.WriteHeader(code); io.WriteString(w, body) }
	}
	for name, c := range map[string]struct {
		handler   nethttp.HandlerFunc
		outcome   grouse.Outcome
		retryable bool
	}{
		"busy": {say(429, "later"), grouse.Errored, true}, "down": {say(503, ""), grouse.Errored, true}, "not found": {say(404, ""), grouse.Errored, false}, "found elsewhere": {say(302, ""), grouse.Errored, false},
		"no JSON": {say(200, "1"), grouse.BadOutput, false}, "too few": {say(200, `{"scores":[]}`), grouse.BadOutput, false}, "too long": {say(200, strings.Repeat(" ", 5<<20)), grouse.BadOutput, false},
		"NaN": {say(200, `{"scores":[NaN]}`), grouse.BadOutput, false}, "a string": {say(200, `{"scores":["1"]}`), grouse.BadOutput, false}, "two answers": {say(200, `{"scores":[1]}{"scores":[1]}`), grouse.BadOutput, false},
		"a byte at a time": {func(w nethttp.ResponseWriter, r *nethttp.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(nethttp.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, grouse.TimedOut, false},
		"hang":      {func(_ nethttp.ResponseWriter, r *nethttp.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, grouse.TimedOut, false},
		"hangs up":  {func(nethttp.ResponseWriter, *nethttp.Request) { panic(nethttp.ErrAbortHandler) }, grouse.Errored, true},
		"no answer": {say(200, `{"error":"cannot judge","kind":"oom"}`), grouse.OOM, false},
	} {
		_, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": serve(t, c.handler)}), group("a"), 300*time.Millisecond)
		if rewards.OutcomeOf(err) != c.outcome || rewards.Retryable(err) != c.retryable {
			t.Errorf("%s: error %v (%s, retryable %v), want %s, %v", name, err, rewards.OutcomeOf(err), rewards.Retryable(err), c.outcome, c.retryable)
		}
	}
	if _, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": "http://127.0.0.1:1"}), group("a"), time.Second); !rewards.Retryable(err) {
		t.Errorf("nobody listens: %v, want a retryable error", err)
	}
}

func TestRetriesUntilItAnswers(t *testing.T) {
	var calls atomic.Int32
	url := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if calls.Add(1) < 3 {
			w.WriteHeader(503)
			return
		}
		judge(w, r)
	})
	c := rewards.Composite{Parts: []rewards.Part{{Name: "h", Weight: 1, Retries: 2, Reward: endpoint(t, map[string]any{"url": url})}}}
	if s := c.Score(context.Background(), group("right"))[0]; s.Outcome != grouse.Scored || *s.Reward != 1 || calls.Load() != 3 {
		t.Errorf("%+v after %d calls", s, calls.Load())
	}
}

func TestRedirects(t *testing.T) {
	private := serve(t, judge) // httptest listens on the loopback
	away := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		nethttp.Redirect(w, r, private, nethttp.StatusTemporaryRedirect)
	})
	_, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": away}), group("right"), 5*time.Second)
	if err == nil || !strings.Contains(err.Error(), "private address") || grouse.FixOf(err) == "" || rewards.Retryable(err) {
		t.Errorf("a redirect to the loopback: error %v", err)
	}
	got, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": away, "allow_private_redirects": true, "headers": map[string]any{"Authorization": "Bearer x"}}), group("right"), 5*time.Second)
	if err != nil || got[0].Value != 1 {
		t.Errorf("allowed: %+v, %v", got, err)
	}
	var loop string
	loop = serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		nethttp.Redirect(w, r, loop, nethttp.StatusPermanentRedirect)
	})
	if _, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": loop, "allow_private_redirects": true}), group("a"), 5*time.Second); err == nil || !strings.Contains(err.Error(), "more than 3 times") {
		t.Errorf("a loop: %v", err)
	}
}

func TestSecretsStayWithTheirHost(t *testing.T) {
	seen := make(chan nethttp.Header, 1)
	other := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) { seen <- r.Header; judge(w, r) })
	away := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		nethttp.Redirect(w, r, other, nethttp.StatusTemporaryRedirect)
	})
	if _, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": away, "allow_private_redirects": true, "headers": map[string]any{"Authorization": "Bearer x"}}), group("a"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if h := (<-seen).Get("Authorization"); h != "" {
		t.Errorf("the redirect's host was told %q", h)
	}
}

func TestSignature(t *testing.T) {
	t.Setenv("TEST_REWARD_SECRET", "s3cret")
	t.Setenv("TEST_REWARD_TOKEN", "abc")
	url := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		stamp := r.Header.Get(http.TimestampHeader)
		if stamp == "" || r.Header.Get(http.SignatureHeader) != http.Sign([]byte("s3cret"), stamp, body) || r.Header.Get("X-Token") != "abc" {
			w.WriteHeader(401)
			return
		}
		io.WriteString(w, `{"scores":[1]}`)
	})
	got, err := rewards.Call(context.Background(), endpoint(t, map[string]any{"url": url, "secret_env": "TEST_REWARD_SECRET", "headers": map[string]any{"X-Token": "$TEST_REWARD_TOKEN"}}), group("a"), 5*time.Second)
	if err != nil || got[0].Value != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// openssl: printf '5.{}' | openssl dgst -sha256 -hmac s3cret
	if got, want := http.Sign([]byte("s3cret"), "5", []byte("{}")), "ce9bbb8e6bbe83ff916d92473f621986604398179f5fc0bcc74f412654d23abe"; got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestBadParameters(t *testing.T) {
	for _, p := range []map[string]any{nil, {"url": "ftp://x"}, {"url": "localhost:80"}, {"url": "http://h", "secret_env": "NO_SUCH_VARIABLE_HERE"}, {"uri": "http://h"}} {
		if _, err := http.NewReward(p); grouse.KindOf(err) != grouse.Invalid || grouse.FixOf(err) == "" {
			t.Errorf("%v: error %v (fix %q)", p, err, grouse.FixOf(err))
		}
	}
}
