package track

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/grouse-rl/grouse"
)

func TestPrometheus(t *testing.T) {
	p := newPrometheus(testRun(t), prometheusParams{Listen: "127.0.0.1:0"})
	source := &lines{}
	source.add(4)
	pump := &pump{main: &delivery{name: "prometheus", sink: p, source: source}, pace: fast}
	pump.start()
	eventually(t, "values", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.points == 4 })
	get := func(host string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+p.addr.String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	_, body := get("")
	for _, want := range []string{
		"# TYPE grouse_metric gauge", `grouse_metric{metric="kl/math",run="demo",stage="rl"} 0.125`, `grouse_metric{metric="loss",run="demo",stage="sft"} 1.5`,
		`grouse_metric{metric="eval/avg@4",run="demo",stage="rl"} 0.75`, `grouse_metric{metric="reward",run="demo",stage="rl"} NaN`,
		`grouse_step{run="demo",stage="rl"} 22`, `grouse_points_total{run="demo"} 4`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no line %q in\n%s", want, body)
		}
	}
	if code, _ := get("evil.example"); code != http.StatusForbidden {
		t.Errorf("another host's name: %d", code)
	}
	pump.close(true)
	if _, err := http.Get("http://" + p.addr.String() + "/metrics"); err == nil {
		t.Error("it is served after the end")
	}
}

// Two runs at one address: the second waits, and warns.
func TestPrometheusPortIsTaken(t *testing.T) {
	first := newPrometheus(testRun(t), prometheusParams{Listen: "127.0.0.1:0"})
	if _, err := first.Open(context.Background(), cursor{}); err != nil {
		t.Fatal(err)
	}
	defer first.Close(context.Background(), true)
	source := &lines{}
	source.add(1)
	w := report(t, testRun(t), source, true, grouse.TrackerSpec{Use: "prometheus", Params: map[string]any{"listen": first.addr.String()}})
	if len(w) != 1 || !strings.Contains(w[0], "another listen") {
		t.Errorf("warnings %q", w)
	}
}
