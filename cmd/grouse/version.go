package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/grouse-rl/grouse/internal/tensor/cpu"
)

// version is set at release: -ldflags "-X main.version=v0.1.0".
var version = "dev"

type versionCmd struct {
	JSON bool `name:"json" help:"One JSON object."`
}

// Run prints the version and what computes.
func (c *versionCmd) Run(a *app) error {
	v := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "device": cpu.New(1).Name()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v["commit"] = s.Value
			}
		}
	}
	if c.JSON {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s\n", raw)
		return nil
	}
	fmt.Fprintf(a.stdout, "grouse %s (%s, %s, %s)\n", v["version"], v["platform"], v["go"], v["device"])
	return nil
}
