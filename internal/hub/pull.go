package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Request says what to fetch and where to.
type Request struct {
	Kind     Kind                   // Model unless given
	Repo     string                 // ORG/NAME[@revision]
	Dir      string                 // the folder that gets the files
	Include  func(name string) bool // which files; nil: Wanted
	Progress func(Progress)         // may be nil; called from the pulling goroutine
}

// Progress tells how far a pull is.
type Progress struct {
	File       string
	Done, Size int64 // bytes of the file
	Files, Of  int   // files finished, and all
}

// Snapshot is what lies in the folder after a pull.
type Snapshot struct {
	Repo     string            `json:"repo"`
	Revision string            `json:"revision"` // commit
	Files    map[string]string `json:"files"`    // name to hash
	Dir      string            `json:"-"`
}

// recordName is the file that says what was pulled; it is written last.
const recordName = ".grouse-pull.json"

// Wanted reports whether a file belongs to a model or data set: weights in
// safetensors or GGUF, configurations, tokenizers, tables, licences. Pickles and
// other frameworks' weights do not.
func Wanted(name string) bool {
	base := strings.ToLower(path.Base(name))
	if strings.HasPrefix(base, ".") {
		return false
	}
	for _, dir := range []string{"onnx/", "openvino/", "coreml/", "flax/", "original/"} {
		if strings.HasPrefix(strings.ToLower(name), dir) {
			return false
		}
	}
	switch path.Ext(base) {
	case ".safetensors", ".gguf", ".json", ".jsonl", ".jinja", ".parquet", ".csv", ".txt", ".md":
		return true
	}
	return strings.HasPrefix(base, "license") || strings.HasPrefix(base, "notice")
}

// Pull fetches a repository's files into a folder. Run again after an interruption, it
// goes on where it was. Errors: Invalid (a name, no access), NotFound, Unavailable
// (network, server; after several tries), Corrupt (a file is not what the hub
// promised; it is removed).
func (c *Client) Pull(ctx context.Context, r Request) (*Snapshot, error) {
	repo, revision, err := ParseRepo(r.Repo)
	if err != nil {
		return nil, err
	}
	if r.Kind == "" {
		r.Kind = Model
	}
	if r.Include == nil {
		r.Include = Wanted
	}
	info, err := c.info(ctx, r.Kind, repo, revision)
	if err != nil {
		return nil, err
	}
	var files []remoteFile
	safetensors := false
	for _, f := range info.Files {
		if r.Include(f.Name) {
			files = append(files, f)
			safetensors = safetensors || strings.HasSuffix(f.Name, ".safetensors")
		}
	}
	if safetensors { // then the same weights as GGUF are not needed
		kept := files[:0]
		for _, f := range files {
			if !strings.HasSuffix(f.Name, ".gguf") {
				kept = append(kept, f)
			}
		}
		files = kept
	}
	if len(files) == 0 {
		return nil, grouse.Errorf(grouse.Invalid, "hub: %s has none of the files that grouse reads (safetensors, GGUF, JSON, Parquet)", repo)
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, grouse.Errorf(grouse.Unavailable, "pull: %w", err)
	}
	snap := &Snapshot{Repo: repo, Revision: info.SHA, Files: map[string]string{}, Dir: r.Dir}
	for i, f := range files {
		report := func(done, size int64) {
			if r.Progress != nil {
				r.Progress(Progress{File: f.Name, Done: done, Size: size, Files: i, Of: len(files)})
			}
		}
		if snap.Files[f.Name], err = c.file(ctx, r, repo, info.SHA, f, report); err != nil {
			return nil, fmt.Errorf("pull %s: %w", repo, err)
		}
	}
	raw, err := json.MarshalIndent(snap, "", "  ")
	if err != nil {
		return nil, err
	}
	return snap, writeWhole(filepath.Join(r.Dir, recordName), append(raw, '\n'))
}

// Pulled returns what a finished pull left in dir, NotFound if there was none.
func Pulled(dir string) (*Snapshot, error) {
	raw, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return nil, grouse.Errorf(grouse.NotFound, "%q holds no finished pull", dir)
	}
	s := &Snapshot{Dir: dir}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "%s: %w", recordName, err)
	}
	return s, nil
}

// promise is what the hub says of a file's bytes.
type promise struct {
	size int64
	sum  string
	kind string // sha256 or git
}

func promised(f remoteFile) (promise, error) {
	switch {
	case f.LFS != nil && len(f.LFS.SHA256) == 64 && f.LFS.Size >= 0:
		return promise{f.LFS.Size, f.LFS.SHA256, "sha256"}, nil
	case f.LFS == nil && len(f.Blob) == 40 && f.Size != nil && *f.Size >= 0:
		return promise{*f.Size, f.Blob, "git"}, nil
	}
	return promise{}, grouse.Errorf(grouse.Invalid, "the hub gives no hash for %s", f.Name).WithFix("check that HF_ENDPOINT is a hub that answers ?blobs=true")
}

func (p promise) hash() hash.Hash {
	if p.kind == "sha256" {
		return sha256.New()
	}
	h := sha1.New() // git's name of the content, the only one the hub has for small files
	fmt.Fprintf(h, "blob %d\x00", p.size)
	return h
}

func (p promise) id() string { return p.kind + ":" + p.sum }

// matches reports whether the file at path is what was promised.
func (p promise) matches(path string) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || st.Size() != p.size {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := p.hash()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == p.sum, nil
}

// file makes sure of one file and returns its hash.
func (c *Client) file(ctx context.Context, r Request, repo, commit string, f remoteFile, report func(done, size int64)) (string, error) {
	p, err := promised(f)
	if err != nil {
		return "", err
	}
	final := filepath.Join(r.Dir, filepath.FromSlash(f.Name))
	if ok, err := p.matches(final); ok || err != nil {
		report(p.size, p.size)
		return p.id(), err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	// The hash in the name keeps the parts of two versions apart.
	part := final + "." + p.sum[:12] + ".part"
	address := "/" + repo + "/resolve/" + commit + "/" + escapePath(f.Name)
	if r.Kind == Dataset {
		address = "/datasets" + address
	}
	err = c.retry(ctx, func() error { return c.download(ctx, address, f.Name, part, p.size, report) })
	if err != nil {
		return "", err
	}
	ok, err := p.matches(part)
	if err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	if !ok {
		os.Remove(part)
		return "", grouse.Errorf(grouse.Corrupt, "%s is not what the hub promised (%s)", f.Name, p.id()).WithFix("run the same command again; if it repeats, the mirror at HF_ENDPOINT is wrong")
	}
	if err := os.Rename(part, final); err != nil {
		return "", grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	return p.id(), nil
}

func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// download appends what is missing to the part.
func (c *Client) download(ctx context.Context, address, name, part string, size int64, report func(done, size int64)) error {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	if have > size {
		have = 0
	}
	if have == size {
		return f.Truncate(size)
	}
	resp, err := c.get(ctx, address, have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", have)) {
			return grouse.Errorf(grouse.Unavailable, "%s: asked for the rest from byte %d, got %q", name, have, got)
		}
	case http.StatusOK:
		have = 0 // the whole file, whatever was asked for
	case http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(f.Truncate(0), grouse.Errorf(grouse.Unavailable, "%s: the server has no byte %d", name, have))
	default:
		return c.statusError(resp, name)
	}
	if err := f.Truncate(have); err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	out := &counter{w: f, done: have, size: size, report: report}
	n, err := io.Copy(out, io.LimitReader(resp.Body, size-have+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return grouse.Errorf(grouse.Unavailable, "%s: %w", name, err)
	case have+n > size:
		return errors.Join(f.Truncate(0), grouse.Errorf(grouse.Corrupt, "%s is longer than the %d bytes that the hub promised", name, size))
	case have+n < size:
		return grouse.Errorf(grouse.Unavailable, "%s: the connection ended after %d of %d bytes", name, have+n, size)
	}
	return f.Sync()
}

// counter reports the bytes that pass, a hundred times a file at most.
type counter struct {
	w          io.Writer
	done, size int64
	last       int64
	report     func(done, size int64)
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	if c.done-c.last >= c.size/100 || c.done == c.size {
		c.last = c.done
		c.report(c.done, c.size)
	}
	return n, err
}

// writeWhole writes a small file so that it is whole or absent.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return grouse.Errorf(grouse.Unavailable, "%w", err)
	}
	return nil
}
