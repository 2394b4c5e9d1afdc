// Package dashboard is grouse's own page: the runs of a home folder, their curves
// while they grow, and every completion that was trained on, token by token.
//
//	http.Serve(listener, dashboard.Handler(home))
//
// It only reads, and only what a run's folder has: metrics.jsonl, events.jsonl,
// the ledger, rollouts/*.parquet and the tokenizer of a checkpoint. So it shows
// finished runs as well as live ones, and no run notices it.
//
// The page is static files in the binary (one chart library, uPlot) over a small
// JSON API below /api/. Model output is hostile input: the API sends it as JSON,
// the page puts it into the document as text, and the content security policy
// allows no inline script, no other origin and no frame. Requests whose Host is
// not a loopback name are refused, so that a page elsewhere cannot read a run by
// rebinding a name.
package dashboard
