package rubric

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/rewards"
)

// OpenAIOptions are a judge behind an OpenAI-compatible endpoint.
type OpenAIOptions struct {
	Engine      string  `json:"engine"`      // "openai"
	URL         string  `json:"url"`         // of the API: http://host:8000/v1
	Model       string  `json:"model"`       //
	KeyEnv      string  `json:"api_key_env"` // environment variable with the key; "": none is sent
	Temperature float64 `json:"temperature"` // 0
	MaxTokens   int     `json:"max_tokens"`  // of a reply; 1024
}

// OpenAI is a Judge behind an endpoint.
type OpenAI struct {
	o      OpenAIOptions
	key    string
	client *http.Client
}

// NewOpenAI checks the options. It connects to nothing yet.
func NewOpenAI(o OpenAIOptions) (*OpenAI, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || o.Model == "" {
		return nil, grouse.Errorf(grouse.Invalid, "judge: url %q, model %q", o.URL, o.Model).WithFix("write judge: {engine: openai, url: http://HOST:PORT/v1, model: NAME}")
	}
	if o.MaxTokens == 0 {
		o.MaxTokens = 1024
	}
	j := &OpenAI{o: o, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if o.KeyEnv != "" {
		if j.key = os.Getenv(o.KeyEnv); j.key == "" {
			return nil, grouse.Errorf(grouse.Invalid, "judge: the environment variable %s is not set", o.KeyEnv).WithFix("export %s, or remove api_key_env", o.KeyEnv)
		}
	}
	return j, nil
}

// Name holds everything that changes what the judge says.
func (j *OpenAI) Name() string {
	return fmt.Sprintf("openai %s %s temperature %v max_tokens %d", j.o.URL, j.o.Model, j.o.Temperature, j.o.MaxTokens)
}

// maxReply bounds a response's bytes.
const maxReply = 1 << 20

// Ask posts a chat completion.
func (j *OpenAI) Ask(ctx context.Context, q Question) (Reply, error) {
	body, err := json.Marshal(map[string]any{
		"model": j.o.Model, "temperature": j.o.Temperature, "max_tokens": j.o.MaxTokens, "seed": q.Seed, "response_format": map[string]any{"type": "json_object"},
		"messages": []map[string]string{{"role": "system", "content": q.System}, {"role": "user", "content": q.User}},
	})
	if err != nil {
		return Reply{}, rewards.Fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(j.o.URL, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return Reply{}, rewards.Fail(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if j.key != "" {
		req.Header.Set("Authorization", "Bearer "+j.key)
	}
	resp, err := j.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return Reply{}, ctx.Err()
		}
		return Reply{}, rewards.TryAgain(fmt.Errorf("judge: %w", err))
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	switch {
	case ctx.Err() != nil:
		return Reply{}, ctx.Err()
	case err != nil:
		return Reply{}, rewards.TryAgain(fmt.Errorf("judge: %w", err))
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return Reply{}, rewards.TryAgain(fmt.Errorf("judge: %s answers %s", j.o.URL, resp.Status))
	case resp.StatusCode != http.StatusOK:
		return Reply{}, rewards.Failf(grouse.Errored, "judge: %s answers %s: %.200q", j.o.URL, resp.Status, data)
	}
	var answer struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || len(answer.Choices) == 0 {
		return Reply{}, rewards.TryAgain(errors.Join(fmt.Errorf("judge: %s answers no chat completion: %.200q", j.o.URL, data), err))
	}
	return Reply{Text: answer.Choices[0].Message.Content, Tokens: [2]int{answer.Usage.Prompt, answer.Usage.Completion}}, nil
}

var _ Judge = (*OpenAI)(nil)
