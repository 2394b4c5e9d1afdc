package main

import (
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct {
	progress *mpb.Progress // nil: not a terminal
	bar      *mpb.Bar
}

// newBar begins a bar of total units, bytes if its counters are to be read so.
func newBar(a *app, quiet bool, name string, total int64) *bar {
	f, ok := a.stderr.(*os.File)
	if quiet || !ok || !isatty.IsTerminal(f.Fd()) || os.Getenv("TERM") == "dumb" {
		return &bar{}
	}
	b := &bar{progress: mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40), mpb.WithRefreshRate(150*time.Millisecond))}
	b.bar = b.progress.New(total, mpb.BarStyle().Lbound("").Filler("█").Tip("█").Padding("░").Rbound(""),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name("  "), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_MMSS), "done")))
	return b
}

func (b *bar) set(n int64) {
	if b.bar != nil {
		b.bar.SetCurrent(n)
	}
}

// close leaves the bar as it is.
func (b *bar) close() {
	if b.progress == nil {
		return
	}
	if !b.bar.Completed() {
		b.bar.Abort(false)
	}
	b.progress.Wait()
	b.progress = nil
	b.bar = nil
}
