package hub_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grouse-rl/grouse"
	"github.com/grouse-rl/grouse/internal/hub"
)

// fake speaks the hub's API for one repository, org/model.
type fake struct {
	files   map[string][]byte
	token   string         // needed, if not empty
	cut     map[string]int // bytes after which the next answer for the file breaks off
	status  int            // answer of the next request, if not 0
	noRange bool
	cdn     *httptest.Server // where large files are redirected to
	asked   []string         // paths and ranges of file requests
	authCDN []string
	lie     map[string][]byte // sent instead of the file
}

const commit = "0123456789abcdef0123456789abcdef01234567"

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.status != 0 {
		w.WriteHeader(f.status)
		f.status = 0
		return
	}
	if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/datasets")
	if path == "/api/models/org/model/revision/main" || r.URL.Path == "/api/datasets/org/model/revision/main" {
		if r.URL.RawQuery != "blobs=true" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var siblings []map[string]any
		for name, b := range f.files {
			s := map[string]any{"rfilename": name, "size": len(b), "blobId": gitSum(b)}
			if len(b) > 1000 {
				sum := sha256.Sum256(b)
				s["lfs"] = map[string]any{"sha256": hex.EncodeToString(sum[:]), "size": len(b), "pointerSize": 130}
			}
			siblings = append(siblings, s)
		}
		json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
		return
	}
	name, ok := strings.CutPrefix(path, "/org/model/resolve/"+commit+"/")
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if f.cdn != nil && len(f.files[name]) > 1000 {
		http.Redirect(w, r, f.cdn.URL+"/"+name, http.StatusFound)
		return
	}
	f.serve(w, r, name)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, name string) {
	body, ok := f.files[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if lie, ok := f.lie[name]; ok {
		body = lie
	}
	f.asked = append(f.asked, name+" "+r.Header.Get("Range"))
	from := 0
	if rng := r.Header.Get("Range"); rng != "" && !f.noRange {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(rng, "bytes="), "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		w.Header().Set("Content-Length", strconv.Itoa(len(body)-from))
		w.WriteHeader(http.StatusPartialContent)
	}
	if n, ok := f.cut[name]; ok {
		delete(f.cut, name)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)-from))
		w.Write(body[from : from+n])
		w.(http.Flusher).Flush()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
		return
	}
	w.Write(body[from:])
}

func gitSum(b []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00%s", len(b), b)
	return hex.EncodeToString(h.Sum(nil))
}

func start(t *testing.T) (*fake, *hub.Client, string) {
	t.Helper()
	f := &fake{cut: map[string]int{}, lie: map[string][]byte{}, files: map[string][]byte{
		"config.json": []byte(`{"model_type":"llama"}`), "model.safetensors": bytes.Repeat([]byte("0123456789"), 20_000), "tokenizer.json": []byte("{}"),
		"pytorch_model.bin": []byte("pickle"), "sub/extra.json": []byte("[1]"), "onnx/model.json": []byte("no"), "README.md": []byte("# hi"), ".gitattributes": []byte("x"),
	}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, hub.New(hub.Options{Endpoint: server.URL + "/", Pause: time.Millisecond}), filepath.Join(t.TempDir(), "m")
}

func pull(c *hub.Client, dir string) (*hub.Snapshot, error) {
	return c.Pull(context.Background(), hub.Request{Repo: "org/model", Dir: dir})
}

func TestPull(t *testing.T) {
	f, c, dir := start(t)
	snap, err := pull(c, dir)
	if err != nil {
		t.Fatal(err)
	}
	if snap.Revision != commit || len(snap.Files) != 5 {
		t.Errorf("snapshot %+v", snap)
	}
	for name, want := range f.files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		wanted := name != "pytorch_model.bin" && name != "onnx/model.json" && name != ".gitattributes"
		if wanted != (err == nil) || wanted && !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := hub.Pulled(dir); err != nil || p.Revision != commit || p.Repo != "org/model" {
		t.Errorf("record %+v %v", p, err)
	}
	// Nothing is fetched again; a damaged file is.
	f.asked = nil
	if _, err := pull(c, dir); err != nil || len(f.asked) != 0 {
		t.Errorf("fetched again: %v %v", f.asked, err)
	}
	os.WriteFile(filepath.Join(dir, "model.safetensors"), bytes.Repeat([]byte("x"), 200_000), 0o644)
	if _, err := pull(c, dir); err != nil || len(f.asked) != 1 {
		t.Errorf("a damaged file: %v %v", f.asked, err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "model.safetensors")); !bytes.Equal(got, f.files["model.safetensors"]) {
		t.Error("the damaged file was kept")
	}
}

func TestDatasetsHaveTheirOwnPath(t *testing.T) {
	_, c, dir := start(t)
	if _, err := c.Pull(context.Background(), hub.Request{Kind: hub.Dataset, Repo: "org/model", Dir: dir}); err != nil {
		t.Fatal(err)
	}
}

// A connection that breaks is taken up where it broke, within one pull and
// between two.
func TestResume(t *testing.T) {
	f, c, dir := start(t)
	f.cut["model.safetensors"] = 60_000
	if _, err := pull(c, dir); err != nil {
		t.Fatal(err)
	}
	var ranges []string
	for _, a := range f.asked {
		if strings.HasPrefix(a, "model.safetensors") {
			ranges = append(ranges, a)
		}
	}
	if len(ranges) != 2 || ranges[1] != "model.safetensors bytes=60000-" {
		t.Errorf("requests %v", ranges)
	}

	once := hub.New(hub.Options{Endpoint: endpoint(t, f), Tries: 1})
	dir2 := dir + "2"
	f.cut["model.safetensors"] = 100_000
	if _, err := pull(once, dir2); grouse.KindOf(err) != grouse.Unavailable {
		t.Fatalf("got %v", err)
	}
	if _, err := hub.Pulled(dir2); err == nil {
		t.Error("an unfinished pull says it is finished")
	}
	f.asked = nil
	if _, err := pull(once, dir2); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.asked, ","); !strings.Contains(got, "model.safetensors bytes=100000-") {
		t.Errorf("requests %v", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir2, "model.safetensors")); !bytes.Equal(got, f.files["model.safetensors"]) {
		t.Error("the file was put together wrongly")
	}

	// A server without ranges sends the whole file again.
	f.noRange = true
	f.cut["model.safetensors"] = 5_000
	if _, err := pull(c, dir+"3"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir+"3", "model.safetensors")); !bytes.Equal(got, f.files["model.safetensors"]) {
		t.Error("the file was put together wrongly")
	}
}

func endpoint(t *testing.T, f *fake) string {
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func TestWrongBytesAreRefused(t *testing.T) {
	for name, lie := range map[string][]byte{
		"model.safetensors": bytes.Repeat([]byte("9876543210"), 20_000),
		"config.json":       []byte(`{"model_type":"evil!"}`),
		"tokenizer.json":    []byte("{}and more than was promised"),
	} {
		f, c, dir := start(t)
		f.lie[name] = lie
		_, err := pull(c, dir)
		if grouse.KindOf(err) != grouse.Corrupt || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s: the wrong file has its name", name)
		}
		delete(f.lie, name)
		if _, err := pull(c, dir); err != nil {
			t.Errorf("%s: afterwards: %v", name, err)
		}
	}
}

func TestServersMoods(t *testing.T) {
	f, c, dir := start(t)
	f.status = http.StatusServiceUnavailable
	if _, err := pull(c, dir); err != nil {
		t.Errorf("one 503: %v", err)
	}
	if _, err := c.Pull(context.Background(), hub.Request{Repo: "org/other", Dir: dir}); grouse.KindOf(err) != grouse.NotFound || grouse.FixOf(err) == "" {
		t.Errorf("unknown repository: %v", err)
	}
	if _, err := c.Pull(context.Background(), hub.Request{Repo: "org/model@v2", Dir: dir}); grouse.KindOf(err) != grouse.NotFound {
		t.Errorf("unknown revision: %v", err)
	}
	for _, bad := range []string{"", "model", "a/b/c", "../x", "org/..", "org/model@", "org/model@../x", "org/mo del"} {
		if _, err := c.Pull(context.Background(), hub.Request{Repo: bad, Dir: dir}); grouse.KindOf(err) != grouse.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	f.files = map[string][]byte{"../../evil.json": []byte("x")}
	if _, err := pull(c, dir); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "leaves the folder") {
		t.Errorf("a path that leaves the folder: %v", err)
	}
	f.files = map[string][]byte{"pytorch_model.bin": []byte("x")}
	if _, err := pull(c, dir); grouse.KindOf(err) != grouse.Invalid {
		t.Errorf("pickles only: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Pull(ctx, hub.Request{Repo: "org/model", Dir: dir}); err == nil {
		t.Error("a cancelled pull succeeded")
	}
	nobody := hub.New(hub.Options{Endpoint: "http://127.0.0.1:1", Tries: 2, Pause: time.Millisecond})
	if _, err := pull(nobody, dir); grouse.KindOf(err) != grouse.Unavailable || grouse.FixOf(err) == "" {
		t.Errorf("nobody there: %v", err)
	}
	page := hub.New(hub.Options{Endpoint: htmlServer(t)})
	if _, err := pull(page, dir); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(grouse.FixOf(err), "HF_ENDPOINT") {
		t.Errorf("not a hub: %v", err)
	}
}

func htmlServer(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in</html>") }))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTokenGoesToTheHubOnly(t *testing.T) {
	f, c, dir := start(t)
	f.token = "secret"
	if _, err := pull(c, dir); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(grouse.FixOf(err), "HF_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	f.cdn = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.authCDN = append(f.authCDN, r.Header.Get("Authorization"))
		f.serve(w, r, strings.TrimPrefix(r.URL.Path, "/"))
	}))
	t.Cleanup(f.cdn.Close)
	// Another host name for the same machine: net/http compares names.
	f.cdn.URL = strings.Replace(f.cdn.URL, "127.0.0.1", "localhost", 1)
	o := hub.OptionsFromEnv(func(key string) string {
		return map[string]string{"HF_TOKEN": "secret", "HF_ENDPOINT": endpoint(t, f)}[key]
	})
	if _, err := pull(hub.New(o), dir); err != nil {
		t.Fatal(err)
	}
	if len(f.authCDN) != 1 || f.authCDN[0] != "" {
		t.Errorf("the token was sent on: %q", f.authCDN)
	}
	plain := hub.New(hub.Options{Endpoint: "http://hub.invalid", Token: "secret"})
	if _, err := pull(plain, dir); grouse.KindOf(err) != grouse.Invalid || !strings.Contains(err.Error(), "unencrypted") {
		t.Errorf("a token over http: %v", err)
	}
}

func TestProgress(t *testing.T) {
	_, c, dir := start(t)
	var last hub.Progress
	_, err := c.Pull(context.Background(), hub.Request{Repo: "org/model", Dir: dir, Progress: func(p hub.Progress) {
		if p.Done > p.Size || p.Files >= p.Of {
			t.Errorf("progress %+v", p)
		}
		last = p
	}})
	if err != nil || last.Of != 5 || last.Files != 4 {
		t.Errorf("last progress %+v, %v", last, err)
	}
}
