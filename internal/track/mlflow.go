package track

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// mlflowParams are what a recipe may say beside `use: mlflow`.
type mlflowParams struct {
	URI        string    `json:"uri"`        // https://HOST of a tracking server, or file:FOLDER; the run's own folder unless given
	Experiment string    `json:"experiment"` // grouse unless given
	Token      secretRef `json:"token"`      // bearer token: env:MLFLOW_TRACKING_TOKEN
	Username   string    `json:"username"`   // or a user with a password
	Password   secretRef `json:"password"`   // env:MLFLOW_TRACKING_PASSWORD
}

func (p *mlflowParams) remote() bool { return strings.HasPrefix(p.URI, "http") }

func (p *mlflowParams) check() error {
	if err := p.Token.check("token", "env:MLFLOW_TRACKING_TOKEN"); err != nil {
		return err
	}
	if err := p.Password.check("password", "env:MLFLOW_TRACKING_PASSWORD"); err != nil {
		return err
	}
	secret := p.Token != "" || p.Password != ""
	switch {
	case p.remote():
		if err := checkServer("uri", p.URI, secret); err != nil {
			return err
		}
	case p.URI != "" && (!strings.HasPrefix(p.URI, "file:") || len(p.URI) == len("file:")):
		return grouse.Errorf(grouse.Invalid, "uri: neither a server nor files").WithFix("https://HOST of a tracking server, or file:FOLDER")
	case secret || p.Username != "":
		return grouse.Errorf(grouse.Invalid, "username, password and token have no effect on files").WithFix("remove them, or give uri: https://HOST")
	}
	switch {
	case (p.Username == "") != (p.Password == ""):
		return grouse.Errorf(grouse.Invalid, "only one of username and password is given").WithFix("give both, or a token")
	case p.Token != "" && p.Password != "":
		return grouse.Errorf(grouse.Invalid, "both a token and a password are given").WithFix("give one of them")
	case len(p.Experiment) > 500 || strings.ContainsAny(p.Experiment, "'\"\\\n"):
		return grouse.Errorf(grouse.Invalid, "experiment: %q", p.Experiment).WithFix("at most 500 bytes, without quotes, backslashes and line ends")
	}
	return nil
}

func (p *mlflowParams) experiment() string {
	if p.Experiment == "" {
		return "grouse"
	}
	return p.Experiment
}

// auth reads the secrets.
func (p *mlflowParams) auth(run *Run) (func(*http.Request), error) {
	token, err := p.Token.read(run)
	if err != nil {
		return nil, err
	}
	password, err := p.Password.read(run)
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) {
		switch {
		case token != "":
			r.Header.Set("Authorization", "Bearer "+token)
		case p.Username != "":
			r.SetBasicAuth(p.Username, password)
		}
	}, nil
}

// mlflow sends a run to a tracking server, by its REST API 2.0. The server keeps
// a metric's (name, step, time, value) once: what is sent again is one with it.
type mlflow struct {
	run    Run
	params mlflowParams
	api    *client
	state  mlflowState
}

type mlflowState struct {
	RunID string `json:"run_id"`
}

func newMLflow(run Run, p mlflowParams, auth func(*http.Request)) *mlflow {
	return &mlflow{run: run, params: p, api: newClient(strings.TrimRight(p.URI, "/")+"/api/2.0/mlflow", auth)}
}

// mlflowIDTag finds a run again whose id was not kept.
const mlflowIDTag = "grouse.id"

// Limits of one request of the server's.
const (
	mlflowMetrics = 1000
	mlflowParamsN = 100
	mlflowValue   = 6000 // characters of a parameter
)

// Open finds the run on the server, or makes it.
func (m *mlflow) Open(ctx context.Context, c cursor) (cursor, error) {
	m.state = mlflowState{}
	if c.state(&m.state) && m.state.RunID != "" {
		err := m.api.do(ctx, http.MethodPost, "/runs/update", map[string]any{"run_id": m.state.RunID, "status": "RUNNING"}, nil)
		if err == nil || !missing(err) {
			return c, err
		}
	}
	experiment, err := m.experiment(ctx)
	if err != nil {
		return c, err
	}
	if m.state.RunID, err = m.find(ctx, experiment); err != nil {
		return c, err
	}
	if m.state.RunID == "" {
		if err := m.create(ctx, experiment); err != nil {
			return c, err
		}
	}
	if err := m.describe(ctx); err != nil {
		return c, err
	}
	raw, err := json.Marshal(m.state)
	return cursor{State: raw}, err
}

// missing reports whether the server says that there is no such thing.
func missing(err error) bool {
	code, body := answered(err)
	return code == http.StatusNotFound || code == http.StatusBadRequest && strings.Contains(string(body), "RESOURCE_DOES_NOT_EXIST")
}

func (m *mlflow) experiment(ctx context.Context) (string, error) {
	name := m.params.experiment()
	var got struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		} `json:"experiment"`
	}
	err := m.api.do(ctx, http.MethodGet, "/experiments/get-by-name?experiment_name="+url.QueryEscape(name), nil, &got)
	if err == nil || !missing(err) {
		return got.Experiment.ID, err
	}
	var made struct {
		ID string `json:"experiment_id"`
	}
	err = m.api.do(ctx, http.MethodPost, "/experiments/create", map[string]any{"name": name}, &made)
	return made.ID, err
}

func (m *mlflow) find(ctx context.Context, experiment string) (string, error) {
	var got struct {
		Runs []struct {
			Info struct {
				RunID string `json:"run_id"`
			} `json:"info"`
		} `json:"runs"`
	}
	err := m.api.do(ctx, http.MethodPost, "/runs/search", map[string]any{"experiment_ids": []string{experiment}, "max_results": 1,
		"filter": fmt.Sprintf("tags.`%s` = '%s'", mlflowIDTag, m.run.ID)}, &got)
	if err != nil || len(got.Runs) == 0 {
		return "", err
	}
	return got.Runs[0].Info.RunID, nil
}

func (m *mlflow) create(ctx context.Context, experiment string) error {
	var got struct {
		Run struct {
			Info struct {
				RunID string `json:"run_id"`
			} `json:"info"`
		} `json:"run"`
	}
	tags := []map[string]string{{"key": mlflowIDTag, "value": m.run.ID}}
	if d := m.run.Spec.Description; d != "" {
		tags = append(tags, map[string]string{"key": "mlflow.note.content", "value": d})
	}
	err := m.api.do(ctx, http.MethodPost, "/runs/create", map[string]any{"experiment_id": experiment, "run_name": m.run.Name, "start_time": time.Now().UnixMilli(), "tags": tags}, &got)
	m.state.RunID = got.Run.Info.RunID
	return err
}

// describe logs the recipe as parameters; the same again is no change.
func (m *mlflow) describe(ctx context.Context) error {
	list, err := mlflowRecipe(&m.run)
	if err != nil {
		return err
	}
	for len(list) > 0 {
		n := min(len(list), mlflowParamsN)
		params := make([]map[string]string, n)
		for i, kv := range list[:n] {
			params[i] = map[string]string{"key": kv[0], "value": kv[1]}
		}
		if err := m.api.do(ctx, http.MethodPost, "/runs/log-batch", map[string]any{"run_id": m.state.RunID, "params": params}, nil); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// mlflowMetric is a value in a batch. JSON has no NaN: the server reads a string,
// as protocol buffers' JSON mapping has it.
type mlflowMetric struct {
	Key       string `json:"key"`
	Value     any    `json:"value"`
	Timestamp int64  `json:"timestamp"` // Unix ms
	Step      int64  `json:"step"`
}

// Log sends the points' metrics.
func (m *mlflow) Log(ctx context.Context, points []Point) (json.RawMessage, error) {
	var list []mlflowMetric
	for i := range points {
		p := &points[i]
		p.each(func(name string, v float64) {
			one := mlflowMetric{Key: mlflowName(name), Value: v, Timestamp: p.At.UnixMilli(), Step: p.Global}
			if math.IsNaN(v) || math.IsInf(v, 0) {
				one.Value = wandbNumber(v) // NaN, Infinity, -Infinity
			}
			list = append(list, one)
		})
	}
	for len(list) > 0 {
		n := min(len(list), mlflowMetrics)
		if err := m.api.do(ctx, http.MethodPost, "/runs/log-batch", map[string]any{"run_id": m.state.RunID, "metrics": list[:n]}, nil); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	return json.Marshal(m.state)
}

// Close says how the run ended, or that it waits.
func (m *mlflow) Close(ctx context.Context, finished bool) error {
	body := map[string]any{"run_id": m.state.RunID, "status": "KILLED"} // it can be resumed: then it is RUNNING again
	if finished {
		body = map[string]any{"run_id": m.state.RunID, "status": "FINISHED"}
	}
	return m.api.do(ctx, http.MethodPost, "/runs/update", body, nil)
}
