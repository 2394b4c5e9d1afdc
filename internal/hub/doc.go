// Package hub fetches models and data sets from the Hugging Face hub, or from a
// server that speaks its API.
//
//	c := hub.New(hub.OptionsFromEnv(os.Getenv))
//	snap, err := c.Pull(ctx, hub.Request{Kind: hub.Model, Repo: "ORG/NAME", Dir: dir})
//
// A pull can be interrupted at any moment and goes on where it was; every file is
// checked against the hash that the hub gives for it before it gets its name, and a
// file that is already there and right is not fetched again. Pickled weights are
// never fetched. The token is sent to the hub alone, not to where it redirects.
package hub
