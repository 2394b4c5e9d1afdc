package workflows

// Change ids of workflow.GetVersion: what changed, since when, when the old
// branch may go. A change of the order of commands needs one, unless no run of
// a release before it can still be under way. None so far: the histories in
// testdata were written by this code.
