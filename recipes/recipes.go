// Package recipes holds the built-in recipes: a folder each, with recipe.yaml
// and a README that says what it does, how long it takes and what came out.
package recipes

import "embed"

// FS holds NAME/recipe.yaml and NAME/README.md.
//
//go:embed */*
var FS embed.FS
