package dashboard

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/ledger"
	"github.com/grouse-rl/grouse/internal/tokenizer"
	"github.com/grouse-rl/grouse/internal/wire"
	"github.com/grouse-rl/grouse/internal/worker"
)

// row is what the viewer reads of a line of rollouts/*.parquet.
type row struct {
	Candidate   uint32          `json:"candidate"`
	Sample      int             `json:"sample"`
	RowID       string          `json:"row_id"`
	Domain      string          `json:"domain"`
	Prompt      string          `json:"prompt"`
	PromptIDs   []int32         `json:"prompt_ids"`
	ResponseIDs []int32         `json:"response_ids"`
	Mask        []int           `json:"mask"`
	Logprobs    []float32       `json:"rollout_logprobs"`
	Entropy     []float32       `json:"entropy"`
	KeptOffsets []int32         `json:"kept_offsets"`
	Finish      string          `json:"finish"`
	Text        string          `json:"text"`
	Reward      *float64        `json:"reward"`
	Advantage   *float64        `json:"advantage"`
	Outcome     *string         `json:"outcome"`
	Correct     *bool           `json:"correct"`
	Explanation *string         `json:"explanation"`
	Parts       json.RawMessage `json:"parts"`
	Masked      *bool           `json:"off_policy_masked"`
	Policy      []float32       `json:"policy_logprobs"`
	Ratio       []float32       `json:"ratio"`
	KL          []float32       `json:"kl"`
	Clipped     []int           `json:"clipped"`
}

// rows reads the rollouts of the step that a request is about.
func (s *server) rows(r *http.Request) (run string, stage int, step int64, rows []row, err error) {
	if run, err = s.name(r); err != nil {
		return
	}
	n, err := number(r, "stage")
	if err != nil {
		return
	}
	stage = int(n)
	if step, err = number(r, "step"); err != nil {
		return
	}
	path := filepath.Join(worker.RunDir(s.home, run), worker.RolloutsDir, worker.RolloutsFile(stage, step))
	if _, err = os.Stat(path); err != nil {
		err = grouse.Errorf(grouse.NotFound, "run %s has no rollouts of stage %d, step %d", run, stage, step)
		return
	}
	maps, err := wire.ReadParquetRows(path)
	if err != nil {
		return
	}
	raw, err := json.Marshal(maps)
	if err == nil {
		err = json.Unmarshal(raw, &rows)
	}
	if err != nil {
		err = grouse.Errorf(grouse.Corrupt, "read %q: %w", path, err)
	}
	return
}

// groupLine is a trained group in the list of a step.
type groupLine struct {
	Candidate uint32       `json:"candidate"`
	RowID     string       `json:"row_id"`
	Domain    string       `json:"domain"`
	Prompt    string       `json:"prompt"`
	Mean      float64      `json:"mean"`
	Samples   []sampleLine `json:"samples"`
}

// sampleLine is a completion in it.
type sampleLine struct {
	Sample    int      `json:"sample"`
	Reward    *float64 `json:"reward"`
	Advantage *float64 `json:"advantage"`
	Correct   *bool    `json:"correct"`
	Tokens    int      `json:"tokens"`
	Finish    string   `json:"finish"`
	Masked    bool     `json:"masked"`
}

// stepPage is a step: what was trained on, and what was drawn but was not.
type stepPage struct {
	Groups []groupLine         `json:"groups"`
	Left   []grouse.FinalGroup `json:"left"` // filtered and failed, with their reason
}

func (s *server) groups(r *http.Request) (any, error) {
	run, stage, step, rows, err := s.rows(r)
	if err != nil {
		return nil, err
	}
	page := stepPage{Groups: []groupLine{}, Left: []grouse.FinalGroup{}}
	for _, row := range rows {
		last := len(page.Groups) - 1
		if last < 0 || page.Groups[last].Candidate != row.Candidate {
			page.Groups = append(page.Groups, groupLine{Candidate: row.Candidate, RowID: row.RowID, Domain: row.Domain, Prompt: row.Prompt})
			last++
		}
		g := &page.Groups[last]
		g.Samples = append(g.Samples, sampleLine{Sample: row.Sample, Reward: row.Reward, Advantage: row.Advantage, Correct: row.Correct,
			Tokens: len(row.ResponseIDs), Finish: row.Finish, Masked: row.Masked != nil && *row.Masked})
	}
	for i := range page.Groups {
		g := &page.Groups[i]
		for _, s := range g.Samples {
			if s.Reward != nil {
				g.Mean += *s.Reward / float64(len(g.Samples))
			}
		}
	}
	key := grouse.StepKey(stage, step)
	for e, err := range ledger.Read(worker.RunDir(s.home, run)) {
		if err != nil {
			return nil, err
		}
		if e.Kind != grouse.RecordGroup {
			continue
		}
		rec, err := e.Record()
		if err != nil {
			return nil, err
		}
		if rec.RecordKey() != key {
			continue
		}
		for _, g := range rec.(grouse.GroupRecord).Groups {
			if g.State != grouse.GroupTrained {
				page.Left = append(page.Left, g)
			}
		}
		break
	}
	return page, nil
}

// completion is one rollout with its tokens.
type completion struct {
	Sample      int             `json:"sample"`
	Reward      *float64        `json:"reward"`
	Advantage   *float64        `json:"advantage"`
	Correct     *bool           `json:"correct"`
	Outcome     *string         `json:"outcome"`
	Explanation *string         `json:"explanation"`
	Parts       json.RawMessage `json:"parts"`
	Finish      string          `json:"finish"`
	Masked      bool            `json:"masked"` // off-policy sequence mask
	Tokens      []string        `json:"tokens"` // [T], text; joined it is the completion
	IDs         []int32         `json:"ids"`    // [T]
	Mask        []int           `json:"mask"`   // [T] or null
	Logprobs    []float32       `json:"logprobs"`
	Policy      []float32       `json:"policy_logprobs"`
	Entropy     []float32       `json:"entropy"`
	Ratio       []float32       `json:"ratio"`
	KL          []float32       `json:"kl"`
	Clipped     []int           `json:"clipped"`
	Kept        []int32         `json:"kept"` // [T], ids that truncation left; 0: all
}

// groupPage is one group with its completions.
type groupPage struct {
	Candidate   uint32       `json:"candidate"`
	RowID       string       `json:"row_id"`
	Domain      string       `json:"domain"`
	Prompt      []string     `json:"prompt"` // tokens, as text
	Completions []completion `json:"completions"`
	Warning     string       `json:"warning,omitempty"`
}

func (s *server) completions(r *http.Request) (any, error) {
	run, _, _, rows, err := s.rows(r)
	if err != nil {
		return nil, err
	}
	candidate, err := number(r, "candidate")
	if err != nil {
		return nil, err
	}
	page := groupPage{Candidate: uint32(candidate), Completions: []completion{}}
	tok, err := worker.RunTokenizer(s.home, run)
	if err != nil {
		page.Warning = "tokens are shown as ids: " + err.Error()
	}
	for i := range rows {
		row := &rows[i]
		if int64(row.Candidate) != candidate {
			continue
		}
		if page.Prompt == nil {
			page.RowID, page.Domain, page.Prompt = row.RowID, row.Domain, pieces(tok, row.PromptIDs)
		}
		c := completion{Sample: row.Sample, Reward: row.Reward, Advantage: row.Advantage, Correct: row.Correct, Outcome: row.Outcome, Explanation: row.Explanation,
			Parts: parts(row.Parts), Finish: row.Finish, Masked: row.Masked != nil && *row.Masked, Tokens: pieces(tok, row.ResponseIDs), IDs: row.ResponseIDs, Mask: row.Mask,
			Logprobs: row.Logprobs, Policy: row.Policy, Entropy: row.Entropy, Ratio: row.Ratio, KL: row.KL, Clipped: row.Clipped}
		for t := 1; t < len(row.KeptOffsets); t++ {
			c.Kept = append(c.Kept, row.KeptOffsets[t]-row.KeptOffsets[t-1])
		}
		page.Completions = append(page.Completions, c)
	}
	if len(page.Completions) == 0 {
		return nil, grouse.Errorf(grouse.NotFound, "no completions of candidate %d in this step", candidate)
	}
	return page, nil
}

// parts unwraps the JSON text of the column.
func parts(raw json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(raw, &text) == nil && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return json.RawMessage("null")
}

// pieces returns the text of each token; a character of several tokens belongs
// to the one that completes it.
func pieces(tok *tokenizer.Tokenizer, ids []int32) []string {
	out := make([]string, len(ids))
	if tok == nil {
		for i, id := range ids {
			raw, _ := json.Marshal(id)
			out[i] = "[" + string(raw) + "]"
		}
		return out
	}
	stream := tok.NewStream(false)
	for i, id := range ids {
		out[i] = stream.Push(id)
	}
	if rest := stream.Flush(); rest != "" && len(out) > 0 {
		out[len(out)-1] += rest
	}
	return out
}
