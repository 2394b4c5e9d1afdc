package track

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/grouse-rl/grouse"
)

// wandbParams are what a recipe may say beside `use: wandb`.
type wandbParams struct {
	Project string    `json:"project"`  // grouse unless given
	Entity  string    `json:"entity"`   // user or team; the key's own unless given
	Group   string    `json:"group"`    //
	Tags    []string  `json:"tags"`     //
	Key     secretRef `json:"key"`      // API key: env:WANDB_API_KEY; without one nothing is sent
	BaseURL string    `json:"base_url"` // of a server of one's own
}

const wandbCloud = "https://api.wandb.ai"

func (p *wandbParams) check() error {
	if err := p.Key.check("key", "env:WANDB_API_KEY"); err != nil {
		return err
	}
	if p.BaseURL != "" && p.Key == "" {
		return grouse.Errorf(grouse.Invalid, "base_url: has no effect without a key").WithFix("key: env:WANDB_API_KEY; or remove base_url")
	}
	if p.BaseURL != "" {
		return checkServer("base_url", p.BaseURL, true)
	}
	return nil
}

func (p *wandbParams) project() string {
	if p.Project == "" {
		return "grouse"
	}
	return p.Project
}

// wandb sends a run to a W&B server: GraphQL's upsertBucket makes the run, then
// lines of its history go to file_stream at their own numbers.
type wandb struct {
	run    Run
	params wandbParams
	api    *client

	stream  string // path of the run's file_stream
	state   wandbState
	summary wandbSummary
}

type wandbState struct {
	Began   int64       `json:"began"` // Unix s, of the first row
	Summary [][2]string `json:"summary"`
}

func newWandb(run Run, p wandbParams, key string) *wandb {
	base := p.BaseURL
	if base == "" {
		base = wandbCloud
	}
	return &wandb{run: run, params: p, api: newClient(strings.TrimRight(base, "/"), func(r *http.Request) { r.SetBasicAuth("api", key) })}
}

const wandbUpsert = `mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String, $displayName: String, $notes: String, $config: JSONString, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName, displayName: $displayName, notes: $notes, config: $config, tags: $tags}) {
    bucket { id name project { name entity { name } } historyLineCount }
    inserted
  }
}`

// Open makes the run on the server, or finds it.
func (w *wandb) Open(ctx context.Context, c cursor) (cursor, error) {
	config, err := w.config()
	if err != nil {
		return c, err
	}
	var answer struct {
		Data struct {
			UpsertBucket *struct {
				Bucket struct {
					Name             string `json:"name"`
					HistoryLineCount int64  `json:"historyLineCount"`
					Project          struct {
						Name   string `json:"name"`
						Entity struct {
							Name string `json:"name"`
						} `json:"entity"`
					} `json:"project"`
				} `json:"bucket"`
			} `json:"upsertBucket"`
		} `json:"data"`
		Errors []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	err = w.api.do(ctx, http.MethodPost, "/graphql", map[string]any{"operationName": "UpsertBucket", "query": wandbUpsert, "variables": map[string]any{
		"name": w.run.ID, "project": w.params.project(), "entity": orNil(w.params.Entity), "groupName": orNil(w.params.Group),
		"displayName": w.run.Name, "notes": orNil(w.run.Spec.Description), "config": config, "tags": w.params.Tags,
	}}, &answer)
	switch code, _ := answered(err); {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return c, grouse.Errorf(grouse.Invalid, "the server refuses the key: %w", err).WithFix("look at the trackers' key, entity and project")
	case err != nil:
		return c, err
	case len(answer.Errors) > 0:
		return c, grouse.Errorf(grouse.Invalid, "the server refuses the run: %s", answer.Errors[0].Message)
	case answer.Data.UpsertBucket == nil:
		return c, grouse.Errorf(grouse.Unavailable, "the server did not make the run")
	}
	bucket := answer.Data.UpsertBucket.Bucket
	w.stream = "/files/" + url.PathEscape(bucket.Project.Entity.Name) + "/" + url.PathEscape(bucket.Project.Name) + "/" + url.PathEscape(bucket.Name) + "/file_stream"
	if !c.state(&w.state) || bucket.HistoryLineCount < c.Rows { // somebody removed it there
		c, w.state = cursor{}, wandbState{}
	}
	w.summary = wandbSummary{}
	for _, kv := range w.state.Summary {
		w.summary.add([]wandbItem{{kv[0], kv[1]}})
	}
	return c, nil
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// config is the recipe, as W&B keeps configurations: each value in an object.
// _wandb.m defines global_step as the axis of every curve, in the field numbers
// of W&B's MetricRecord.
func (w *wandb) config() (string, error) {
	plain, err := w.run.config()
	if err != nil {
		return "", grouse.Errorf(grouse.Internal, "the recipe: %w", err)
	}
	config := map[string]any{"_wandb": map[string]any{"value": map[string]any{"m": []any{
		map[string]any{"1": wandbAxis, "6": []int{3}, "7": []int{}},
		map[string]any{"2": "*", "5": 1, "6": []int{1}, "7": []int{}},
	}}}}
	for k, v := range plain {
		config[k] = map[string]any{"value": v}
	}
	raw, err := json.Marshal(config)
	return string(raw), err
}

// wandbChunk is a stretch of lines of a file of the run.
type wandbChunk struct {
	Offset  int64    `json:"offset"` // number of the first line
	Content []string `json:"content"`
}

// Log sends rows of history and the summary.
func (w *wandb) Log(ctx context.Context, points []Point) (json.RawMessage, error) {
	if w.state.Began == 0 {
		w.state.Began = points[0].At.Unix()
	}
	lines := make([]string, len(points))
	for i := range points {
		items := wandbItems(&points[i], w.state.Began)
		lines[i] = wandbObject(items)
		w.summary.add(items)
	}
	w.state.Summary = nil
	for _, it := range w.summary.items() {
		w.state.Summary = append(w.state.Summary, [2]string{it.key, it.value})
	}
	err := w.send(ctx, map[string]any{"files": map[string]wandbChunk{
		"wandb-history.jsonl": {Offset: points[0].Row, Content: lines},
		"wandb-summary.json":  {Content: []string{wandbObject(w.summary.items())}},
	}})
	if err != nil {
		return nil, err
	}
	return json.Marshal(w.state)
}

func (w *wandb) send(ctx context.Context, body any) error {
	return w.api.do(ctx, http.MethodPost, w.stream, body, nil)
}

// Beat tells the server that the run is alive.
func (w *wandb) Beat(ctx context.Context) error { return w.send(ctx, struct{}{}) }

// Close marks a finished run. One that may go on is left as it is.
func (w *wandb) Close(ctx context.Context, finished bool) error {
	if !finished {
		return nil
	}
	return w.send(ctx, map[string]any{"complete": true, "exitcode": 0})
}
