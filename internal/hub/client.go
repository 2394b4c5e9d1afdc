package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/grouse-rl/grouse"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Kind is what a repository holds.
type Kind string

const (
	Model   Kind = "models"
	Dataset Kind = "datasets"
)

// Options configure a client. Zero values are the defaults.
type Options struct {
	Endpoint string        // URL; DefaultEndpoint
	Token    string        // for private and gated repositories
	Tries    int           // of one request; 5
	Pause    time.Duration // before the second try, doubled each time; 1 s
	HTTP     *http.Client  // one with a limit on connecting and on waiting for an answer
}

// OptionsFromEnv reads HF_ENDPOINT and HF_TOKEN.
func OptionsFromEnv(getenv func(string) string) Options {
	return Options{Endpoint: getenv("HF_ENDPOINT"), Token: getenv("HF_TOKEN")}
}

// Client talks to one hub.
type Client struct{ o Options }

// New returns a client.
func New(o Options) *Client {
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	if o.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = 30 * time.Second
		o.HTTP = &http.Client{Transport: transport}
	}
	return &Client{o}
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$`)

// ParseRepo splits ORG/NAME[@revision]; the revision is main unless given.
func ParseRepo(name string) (repo, revision string, err error) {
	repo, revision, given := strings.Cut(name, "@")
	if !given {
		revision = "main"
	}
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") || revision == "" || strings.ContainsAny(revision, "?#% \\") || strings.Contains(revision, "..") {
		return "", "", grouse.Errorf(grouse.Invalid, "hub name %q", name).WithFix("write ORG/NAME or ORG/NAME@revision")
	}
	return repo, revision, nil
}

// remoteFile is a file of a repository.
type remoteFile struct {
	Name string `json:"rfilename"`
	Size *int64 `json:"size"`
	Blob string `json:"blobId"` // SHA-1 of the git blob
	LFS  *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// repoInfo is the hub's description of a revision.
type repoInfo struct {
	SHA   string       `json:"sha"`
	Files []remoteFile `json:"siblings"`
}

// maxInfo bounds the description, in bytes.
const maxInfo = 32 << 20

// info asks for the files of a revision, with their hashes.
func (c *Client) info(ctx context.Context, kind Kind, repo, revision string) (*repoInfo, error) {
	var out repoInfo
	what := fmt.Sprintf("%s@%s", repo, revision)
	err := c.retry(ctx, func() error {
		resp, err := c.get(ctx, "/api/"+string(kind)+"/"+repo+"/revision/"+url.PathEscape(revision)+"?blobs=true", 0)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return c.statusError(resp, what)
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxInfo+1))
		if err != nil {
			return grouse.Errorf(grouse.Unavailable, "hub: %s: %w", what, err)
		}
		if len(raw) > maxInfo {
			return grouse.Errorf(grouse.Invalid, "hub: %s: the list of files has more than %d bytes", what, maxInfo)
		}
		out = repoInfo{}
		if err := json.Unmarshal(raw, &out); err != nil {
			return grouse.Errorf(grouse.Invalid, "hub: %s: %w", what, err).WithFix("check that HF_ENDPOINT is a hub: %s", c.o.Endpoint)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !regexp.MustCompile(`^[0-9a-f]{40,64}$`).MatchString(out.SHA) {
		return nil, grouse.Errorf(grouse.Invalid, "hub: %s: the answer names no commit", what).WithFix("check that HF_ENDPOINT is a hub: %s", c.o.Endpoint)
	}
	for _, f := range out.Files {
		if !safePath(f.Name) {
			return nil, grouse.Errorf(grouse.Invalid, "hub: %s names the file %q, which leaves the folder", what, f.Name)
		}
	}
	return &out, nil
}

// safePath reports whether a repository's file name stays inside the folder.
func safePath(name string) bool {
	if name == "" || strings.ContainsAny(name, "\\\x00:") || path.IsAbs(name) || path.Clean(name) != name {
		return false
	}
	for _, part := range strings.Split(name, "/") {
		if part == ".." || part == "." {
			return false
		}
	}
	return true
}

// get sends a request; from > 0 asks for the rest of a file.
func (c *Client) get(ctx context.Context, address string, from int64) (*http.Response, error) {
	u, err := url.Parse(c.o.Endpoint + address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, grouse.Errorf(grouse.Invalid, "hub: %q is not an address", c.o.Endpoint).WithFix("HF_ENDPOINT is a URL such as %s", DefaultEndpoint)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "hub: %w", err)
	}
	req.Header.Set("User-Agent", "grouse")
	if c.o.Token != "" {
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			return nil, grouse.Errorf(grouse.Invalid, "hub: HF_TOKEN would go unencrypted to %s", u.Host).WithFix("use an https endpoint, or unset HF_TOKEN")
		}
		// net/http drops this header when a redirect leads to another domain.
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, grouse.Errorf(grouse.Unavailable, "hub: %w", err).WithFix("check the network, HF_ENDPOINT and proxy settings; the pull goes on where it was")
	}
	return resp, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// statusError turns an answer that is not the thing asked for into an error.
func (c *Client) statusError(resp *http.Response, what string) error {
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		fix := "set HF_TOKEN to a token that may read it; a gated repository must be accepted on its page first"
		if c.o.Token != "" {
			fix = "HF_TOKEN may not read it: use another token, or accept the repository's terms on its page"
		}
		return grouse.Errorf(grouse.Invalid, "hub: no access to %s (%s)", what, resp.Status).WithFix("%s", fix)
	case code == http.StatusNotFound:
		return grouse.Errorf(grouse.NotFound, "hub: there is no %s", what).WithFix("check the spelling; private repositories need HF_TOKEN")
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return grouse.Errorf(grouse.Unavailable, "hub: %s: %s", what, resp.Status).WithFix("try again later; the pull goes on where it was")
	}
	return grouse.Errorf(grouse.Invalid, "hub: %s: %s", what, resp.Status)
}

// retry calls f until it succeeds, fails for good, or was tried often enough.
func (c *Client) retry(ctx context.Context, f func() error) error {
	pause := c.o.Pause
	for try := 1; ; try++ {
		err := f()
		if err == nil || ctx.Err() != nil || grouse.KindOf(err) != grouse.Unavailable || try >= c.o.Tries {
			return errors.Join(err, ctx.Err())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 30*time.Second)
	}
}
