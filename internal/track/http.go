package track

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/grouse-rl/grouse"
)

// client speaks JSON with a tracker's server.
type client struct {
	base string // without a slash at the end
	auth func(*http.Request)
	http http.Client
}

func newClient(base string, auth func(*http.Request)) *client {
	return &client{base: base, auth: auth, http: http.Client{Timeout: 30 * time.Second}}
}

// answerLimit is how much of an answer is read.
const answerLimit = 8 << 20

// statusError is an answer that is not a success.
type statusError struct {
	code int
	body []byte
}

func (e *statusError) Error() string {
	body := e.body
	if len(body) > 200 {
		body = body[:200]
	}
	return fmt.Sprintf("%d %s: %q", e.code, http.StatusText(e.code), body)
}

// do sends body as JSON, raw if it is bytes, and decodes the answer. The error is
// Unavailable if it makes sense to try again, Invalid if not; a *statusError is in
// its chain if the server answered.
func (c *client) do(ctx context.Context, method, path string, body, answer any) error {
	raw, isRaw := body.([]byte)
	if !isRaw && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return grouse.Errorf(grouse.Internal, "%s: %w", path, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(raw))
	if err != nil {
		return grouse.Errorf(grouse.Invalid, "%s: %w", path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "grouse")
	if c.auth != nil {
		c.auth(req)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%s %s%s: %w", method, c.base, path, err)
	}
	if res.StatusCode/100 != 2 {
		kind := grouse.Invalid
		switch {
		case res.StatusCode >= 500, res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusRequestTimeout:
			kind = grouse.Unavailable
		}
		return grouse.Errorf(kind, "%s %s%s: %w", method, c.base, path, &statusError{res.StatusCode, got})
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(got, answer); err != nil {
		return grouse.Errorf(grouse.Unavailable, "%s %s%s: the answer is no JSON: %w", method, c.base, path, err)
	}
	return nil
}

// answered returns the code of an answer that was not a success, 0 if there was
// none.
func answered(err error) (code int, body []byte) {
	var s *statusError
	if errors.As(err, &s) {
		return s.code, s.body
	}
	return 0, nil
}
