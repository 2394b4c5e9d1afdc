package track

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/grouse-rl/grouse"
)

// prometheusParams are what a recipe may say beside `use: prometheus`.
type prometheusParams struct {
	Listen string `json:"listen"` // 127.0.0.1:9464 unless given
}

const prometheusListen = "127.0.0.1:9464"

func (p *prometheusParams) check() error {
	if p.Listen == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(p.Listen)
	if err != nil || port == "" || !loopback(host) {
		return grouse.Errorf(grouse.Invalid, "listen: %q is not HOST:PORT of this machine's loopback", p.Listen).WithFix("for example %s; another machine gets there with ssh -L", prometheusListen)
	}
	return nil
}

// prom serves the last values at /metrics.
type prom struct {
	run    Run
	listen string
	server *http.Server
	addr   net.Addr // of the server

	mu     sync.Mutex
	last   map[string]promValue // by metric
	step   promValue            // global step
	points float64
}

type promValue struct {
	stage string
	value float64
}

func newPrometheus(run Run, p prometheusParams) *prom {
	listen := p.Listen
	if listen == "" {
		listen = prometheusListen
	}
	return &prom{run: run, listen: listen}
}

// Open listens. The values come from the run's beginning.
func (p *prom) Open(ctx context.Context, _ cursor) (cursor, error) {
	p.mu.Lock()
	p.last, p.step, p.points = map[string]promValue{}, promValue{}, 0
	p.mu.Unlock()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", p.listen)
	if err != nil {
		return cursor{}, grouse.Errorf(grouse.Unavailable, "%w", err).WithFix("give one of the runs another listen: HOST:PORT")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(p)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	p.server, p.addr = &http.Server{Handler: localOnly(mux), ReadHeaderTimeout: 10 * time.Second}, l.Addr()
	go func() {
		if err := p.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			l.Close() // the run goes on without it
		}
	}()
	return cursor{}, nil
}

// localOnly refuses the names of other machines: a page elsewhere that was made
// to resolve to this one.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !loopback(host) {
			http.Error(w, "grouse: these metrics are for this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Log keeps the last values.
func (p *prom) Log(_ context.Context, points []Point) (json.RawMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range points {
		at := &points[i]
		p.step = promValue{at.StageName, float64(at.Global)}
		p.points++
		at.each(func(name string, v float64) { p.last[name] = promValue{at.StageName, v} })
	}
	return nil, nil
}

// Close stops serving.
func (p *prom) Close(context.Context, bool) error { return p.server.Close() }

var (
	promMetric = prometheus.NewDesc("grouse_metric", "Last value of a metric of the run, by the metric's name and the stage that it is of.", []string{"run", "stage", "metric"}, nil)
	promStep   = prometheus.NewDesc("grouse_step", "Steps done, counted through the stages.", []string{"run", "stage"}, nil)
	promPoints = prometheus.NewDesc("grouse_points_total", "Steps, runs of supervised updates and evaluations that were reported.", []string{"run"}, nil)
)

// Describe is prometheus.Collector's.
func (p *prom) Describe(c chan<- *prometheus.Desc) {
	c <- promMetric
	c <- promStep
	c <- promPoints
}

// Collect is prometheus.Collector's.
func (p *prom) Collect(c chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.run.Name
	for metric, v := range p.last {
		c <- prometheus.MustNewConstMetric(promMetric, prometheus.GaugeValue, v.value, name, v.stage, metric)
	}
	if p.points > 0 {
		c <- prometheus.MustNewConstMetric(promStep, prometheus.GaugeValue, p.step.value, name, p.step.stage)
	}
	c <- prometheus.MustNewConstMetric(promPoints, prometheus.CounterValue, p.points, name)
}
