// Package builtin names every reward that comes with grouse. It is the one list:
// a new reward is one package and one line here.
package builtin

import (
	"time"

	"github.com/grouse-rl/grouse/rewards"
	"github.com/grouse-rl/grouse/rewards/code"
	"github.com/grouse-rl/grouse/rewards/exec"
	"github.com/grouse-rl/grouse/rewards/format"
	"github.com/grouse-rl/grouse/rewards/http"
	"github.com/grouse-rl/grouse/rewards/instruction"
	"github.com/grouse-rl/grouse/rewards/jsonschema"
	"github.com/grouse-rl/grouse/rewards/language"
	"github.com/grouse-rl/grouse/rewards/length"
	"github.com/grouse-rl/grouse/rewards/match"
	"github.com/grouse-rl/grouse/rewards/math"
	"github.com/grouse-rl/grouse/rewards/proof"
	"github.com/grouse-rl/grouse/rewards/python"
	"github.com/grouse-rl/grouse/rewards/repetition"
	"github.com/grouse-rl/grouse/rewards/rubric"
	"github.com/grouse-rl/grouse/rewards/wasm"
)

// Judges are judges for rubric besides openai: a constructor by the name of
// judge.engine, given the recipe's judge block.
type Judges map[string]func(judge map[string]any) (rubric.Judge, error)

// Registry returns a new registry with the built-in rewards. It is the caller's:
// add your own to it.
func Registry() *rewards.Registry { return With(nil) }

// With is Registry for a program that has judges of its own, such as a checkpoint on
// its engine.
func With(judges Judges) *rewards.Registry {
	r := &rewards.Registry{}
	for _, e := range []rewards.Entry{
		{Name: "exact", New: match.NewExact, Pure: true, Doc: "1 if the answer is the reference as text, else 0",
			Usage: "{use: exact, column: answer, extract: false, ignore_case: false}"},
		{Name: "numeric", New: match.NewNumeric, Pure: true, Doc: "1 if the final number equals the reference, else 0",
			Usage: "{use: numeric, column: answer, tolerance: 0, relative: 0}"},
		{Name: "choice", New: match.NewChoice, Pure: true, Doc: "1 if the answer names the right choice, else 0",
			Usage: "{use: choice, column: answer, letters: ABCDE, choices: COLUMN}"},
		{Name: "math", New: math.New, Pure: true, Doc: "1 if the final answer is equivalent to the reference, else 0",
			Usage: "{use: math, column: answer}"},
		{Name: "regex", New: match.NewRegex, Pure: true, Doc: "1 if the answer matches a pattern, else 0",
			Usage: "{use: regex, pattern: '...', column: COLUMN, whole: false, absent: false}"},
		{Name: "format", New: format.New, Pure: true, Doc: "1 if the completion has the form (R1's think and answer tags, or a pattern), else 0",
			Usage: "{use: format, style: think_answer|think|answer|boxed, pattern: '...'}"},
		{Name: "language_consistency", New: language.New, Pure: true, Doc: "share of the words in the target language, from 0 to 1",
			Usage: "{use: language_consistency, target: en, column: language}"},
		{Name: "instruction_following", New: instruction.NewReward, Pure: true, Doc: "IFEval's 25 checkers: 1 if every instruction of the row is followed, or the share that is",
			Usage: "{use: instruction_following, ids: instruction_id_list, kwargs: kwargs, score: all|share}"},
		{Name: "proof", New: proof.New, Pure: true, Doc: "DeepSeekMath-V2's reward of a proof verifier or meta-verifier, from 0 to 1",
			Usage: "{use: proof, role: verifier|meta, column: score}"},
		{Name: "soft_overlong", New: length.NewOverlong, Pure: true, Doc: "DAPO's length term, from -1 to 0",
			Usage: "{use: soft_overlong, max: TOKENS, cache: TOKENS}"},
		{Name: "length_penalty", New: func(p map[string]any) (rewards.Reward, error) { return length.NewPenalty(p, r.New) }, Pure: true,
			Doc: "the shorter the better: soft_overlong and linear from -1 to 0, kimi from -0.5 to 0.5 within the group", Usage: "{use: length_penalty, style: soft_overlong|linear|kimi, max: TOKENS, cache: TOKENS, judge: REWARD}"},
		{Name: "repetition", New: repetition.New, Pure: true, Doc: "minus the share of n-grams that occurred before, from -1 to 0",
			Usage: "{use: repetition, n: 3, max_penalty: 1}"},
		{Name: "json_schema", New: jsonschema.New, Pure: true, Doc: "1 if the answer is JSON that the schema accepts, 0.2 if it is other JSON, else 0",
			Usage: "{use: json_schema, schema: {...}, column: COLUMN, fenced: true}"},
		{Name: "rubric", New: func(p map[string]any) (rewards.Reward, error) { return rubric.NewReward(p, judges) }, Deadline: 10 * time.Minute,
			Doc: "a judge's marks on a rubric, weighed, from 0 to 1", Usage: "{use: rubric, judge: {engine: openai, url: URL, model: NAME, api_key_env: NAME}, judges: [...], items: [...], column: rubric, reference: COLUMN, votes: 1, quorum: 1, attempts: 3, judge_retries: 4, concurrency: 8, per_minute: 0, max_questions: 0, max_total_tokens: 0, max_cost: 0, price: [IN, OUT], memo: DIR}"},
		{Name: "code", New: code.NewReward, Deadline: 10 * time.Minute, Doc: "1 if the program passes the row's tests (asserts, check(candidate), or input and output), each program in a sandbox of its own, else 0",
			Usage: "{use: code, tests: tests, entry_point: entry_point, setup: setup, prefix: COLUMN, score: all|share, python: python3, site_packages: false, command: [PROGRAM, FILE], file: FILE, language: python, read_only: [PATH], sandbox: native|bwrap|nsjail|gvisor|http, url: URL, time_limit: 5, memory_mb: 512, processes: 64, disk_mb: 64, output_mb: 10, parallel: 0}"},
		{Name: "python", New: python.NewReward, Doc: "a Python function of TRL's or verl's signature, unchanged, in a process of its own",
			Usage: "{use: python, file: FILE.py, function: NAME, style: auto|trl|verl, python: python3, memory_mb: 4096, workers: 1}"},
		{Name: "exec", New: exec.NewReward, Doc: "a command: one JSON line in, one out",
			Usage: "{use: exec, command: [PROGRAM, ARGUMENT], dir: DIR, env: {}, memory_mb: 0, workers: 1}"},
		{Name: "http", New: http.NewReward, Doc: "an HTTP endpoint: one JSON object in, one out",
			Usage: "{use: http, url: URL, headers: {}, secret_env: NAME, allow_private_redirects: false}"},
		{Name: "wasm", New: wasm.NewReward, Doc: "a WebAssembly module without files and network: one JSON line in, one out",
			Usage: "{use: wasm, file: FILE.wasm, memory_mb: 256, fuel: 10000000000}"},
	} {
		if err := r.Add(e); err != nil {
			panic(err) // two lines of the same name: a mistake in this list
		}
	}
	return r
}
