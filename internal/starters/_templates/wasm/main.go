// Command NAME is a reward in WebAssembly: it sees no file, no network and no clock.
//
//	GOOS=wasip1 GOARCH=wasm go build -o NAME.wasm .
//	grouse reward test NAME.wasm --data cases.jsonl
//
// In a recipe:
//
//	rewards: [{use: wasm, name: NAME, file: NAME.wasm}]
//
// Any language that compiles to WASI preview 1 will do: one line of JSON on standard
// input, one on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type group struct {
	Columns     map[string]any `json:"columns"`
	Completions []struct {
		Text string `json:"text"`
	} `json:"completions"`
}

// Score is 1 if the text ends with the column answer, else 0.
func Score(text string, columns map[string]any) (float64, error) {
	want, ok := columns["answer"]
	if !ok {
		return 0, fmt.Errorf("no column answer")
	}
	if strings.HasSuffix(strings.TrimSpace(text), fmt.Sprint(want)) {
		return 1, nil
	}
	return 0, nil
}

func answer(in []byte) map[string]any {
	var g group
	if err := json.Unmarshal(in, &g); err != nil {
		return map[string]any{"error": err.Error(), "kind": "error"}
	}
	scores := []float64{}
	for _, c := range g.Completions {
		v, err := Score(c.Text, g.Columns)
		if err != nil {
			return map[string]any{"error": err.Error(), "kind": "error"}
		}
		scores = append(scores, v)
	}
	return map[string]any{"scores": scores}
}

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer(in)); err != nil {
		os.Exit(1)
	}
}
