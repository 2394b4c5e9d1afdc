package ledger

import (
	"encoding/json"

	"github.com/grouse-rl/grouse"
)

// kinds maps the byte in a record to its kind. Codes are for ever: a kind that
// goes keeps its number, a new one takes the next.
var kinds = map[byte]grouse.RecordKind{
	1:  grouse.RecordRun,
	2:  grouse.RecordStage,
	3:  grouse.RecordDraw,
	4:  grouse.RecordScore,
	5:  grouse.RecordGroup,
	6:  grouse.RecordBatch,
	7:  grouse.RecordStep,
	8:  grouse.RecordSFT,
	9:  grouse.RecordCheckpoint,
	10: grouse.RecordEval,
}

var codes = func() map[grouse.RecordKind]byte {
	m := make(map[grouse.RecordKind]byte, len(kinds))
	for code, kind := range kinds {
		m[kind] = code
	}
	return m
}()

// Record decodes the entry's payload into its kind's type.
func (e *Entry) Record() (grouse.Record, error) {
	switch e.Kind {
	case grouse.RecordRun:
		return decode[grouse.RunRecord](e)
	case grouse.RecordStage:
		return decode[grouse.StageRecord](e)
	case grouse.RecordDraw:
		return decode[grouse.DrawRecord](e)
	case grouse.RecordScore:
		return decode[grouse.ScoreRecord](e)
	case grouse.RecordGroup:
		return decode[grouse.GroupRecord](e)
	case grouse.RecordBatch:
		return decode[grouse.BatchRecord](e)
	case grouse.RecordStep:
		return decode[grouse.StepRecord](e)
	case grouse.RecordSFT:
		return decode[grouse.SFTRecord](e)
	case grouse.RecordCheckpoint:
		return decode[grouse.CheckpointRecord](e)
	case grouse.RecordEval:
		return decode[grouse.EvalRecord](e)
	}
	return nil, grouse.Errorf(grouse.Internal, "ledger: record %d is of kind %q, which has no type", e.Seq, e.Kind)
}

func decode[T grouse.Record](e *Entry) (grouse.Record, error) {
	var rec T
	if err := json.Unmarshal(e.Payload, &rec); err != nil {
		return nil, grouse.Errorf(grouse.Corrupt, "ledger: record %d (%s): %w", e.Seq, e.Kind, err)
	}
	return rec, nil
}
