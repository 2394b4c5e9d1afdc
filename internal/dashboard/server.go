package dashboard

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net"
	"net/http"
	"strings"

	"github.com/grouse-rl/grouse"
)

//go:embed assets
var assets embed.FS

// policy forbids everything that the page does not need.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page and its API for the runs below home.
func Handler(home string) http.Handler {
	s := &server{home: home}
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the folder is embedded
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/runs", s.answer(s.runs))
	mux.HandleFunc("GET /api/runs/{run}", s.answer(s.run))
	mux.HandleFunc("GET /api/runs/{run}/lines/{file}", s.answer(s.lines))
	mux.HandleFunc("GET /api/runs/{run}/steps", s.answer(s.steps))
	mux.HandleFunc("GET /api/runs/{run}/rollouts/{stage}/{step}", s.answer(s.groups))
	mux.HandleFunc("GET /api/runs/{run}/rollouts/{stage}/{step}/{candidate}", s.answer(s.completions))
	return guard(mux)
}

// server answers from the files of runs.
type server struct{ home string }

// guard refuses foreign hosts and sets the headers of every answer.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !loopback(r.Host) {
			http.Error(w, "grouse: this page is for this machine: open it as 127.0.0.1 or localhost (ssh -L PORT:127.0.0.1:PORT from another)", http.StatusForbidden)
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-cache")
		} else {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if name == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return ip != nil && ip.IsLoopback()
}

// answer makes a handler of a function that returns what is to be sent as JSON.
func (s *server) answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		status := http.StatusOK
		if err != nil {
			switch grouse.KindOf(err) {
			case grouse.NotFound:
				status = http.StatusNotFound
			case grouse.Invalid:
				status = http.StatusBadRequest
			default:
				status = http.StatusInternalServerError
			}
			v = map[string]string{"error": err.Error(), "fix": grouse.FixOf(err)}
		}
		raw, err := json.Marshal(v)
		if err != nil {
			status, raw = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(raw) // who went away needs no answer
	}
}
