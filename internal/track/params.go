package track

import (
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/grouse-rl/grouse"
)

// Names are the trackers that a recipe may use.
var Names = []string{"tensorboard", "wandb", "mlflow", "prometheus"}

// Check refuses what a recipe says of a tracker but the tracker cannot do,
// secrets that are written out among it. The error is Invalid.
func Check(s grouse.TrackerSpec) error {
	_, err := parseParams(s)
	return err
}

// params is what a tracker's parameters decode to.
type params interface{ check() error }

func parseParams(s grouse.TrackerSpec) (params, error) {
	var p params
	switch s.Use {
	case "tensorboard":
		p = &tensorboardParams{}
	case "wandb":
		p = &wandbParams{}
	case "mlflow":
		p = &mlflowParams{}
	case "prometheus":
		p = &prometheusParams{}
	default:
		return nil, grouse.Errorf(grouse.Invalid, "unknown tracker %q", s.Use).WithFix("one of %s", strings.Join(Names, ", "))
	}
	known := keysOf(p)
	for key := range s.Params {
		if !slices.Contains(known, key) {
			return nil, grouse.Errorf(grouse.Invalid, "%s has no parameter %q", s.Use, key).WithFix("it has %s", strings.Join(known, ", "))
		}
	}
	raw, err := json.Marshal(s.Params)
	if err != nil {
		return nil, grouse.Errorf(grouse.Invalid, "%s: its parameters: %w", s.Use, err)
	}
	if err := json.Unmarshal(raw, p); err != nil {
		var e *json.UnmarshalTypeError
		if errors.As(err, &e) {
			return nil, grouse.Errorf(grouse.Invalid, "%s: %s: want a %s, got a %s", s.Use, e.Field, e.Type, e.Value)
		}
		return nil, grouse.Errorf(grouse.Invalid, "%s: its parameters: %w", s.Use, err)
	}
	return p, p.check()
}

func keysOf(p params) []string {
	t := reflect.TypeOf(p).Elem()
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("json"))
	}
	return keys
}

// path is a path of the recipe.
func (r *Run) path(p string) string {
	if filepath.IsAbs(p) || r.Base == "" {
		return p
	}
	return filepath.Join(r.Base, p)
}

// checkServer refuses addresses that a recipe should not hold: with a password in
// them, or such that a secret would travel in the clear.
func checkServer(key, address string, secret bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return grouse.Errorf(grouse.Invalid, "%s: not an http or https address", key)
	}
	if u.User != nil {
		return grouse.Errorf(grouse.Invalid, "%s: there is a user or password in the address", key).WithFix("the recipe is saved with the run: name secrets by reference, env:NAME or file:PATH")
	}
	if secret && u.Scheme == "http" && !loopback(u.Hostname()) {
		return grouse.Errorf(grouse.Invalid, "%s: the secret would travel to %s unencrypted", key, u.Host).WithFix("use https")
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
