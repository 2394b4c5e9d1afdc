// Package natsbus carries batches between the roles of a run over NATS
// JetStream: sampled groups to where they are scored, both to the trainer.
//
//	bus, err := natsbus.Open(ctx, natsbus.Options{URL: "nats://127.0.0.1:4222"})
//	ref, err := bus.Publish(ctx, natsbus.Key("run7", "rollouts", "1-000003", "w0-0001"), 128, payload)
//	payload, err := bus.Fetch(ctx, ref)
//
// A key "<run>/<kind>/<step>/<shard>" is the subject "grouse.<run>.<kind>.<step>.<shard>"
// of the run's stream and the message's Nats-Msg-Id. Payloads over 4 MiB go to
// content-addressed files in a shared folder, if there is one, else to the
// run's object store in chunks of 1 MiB; the message then only names them.
//
// # Promises
//
//   - The first bytes published under a key stay: publishing it again returns
//     the stored reference, however long ago that was. Different bytes are
//     reported (Options.OnDivergence), never stored.
//   - Fetch verifies length and SHA-256 before anyone decodes the bytes.
//   - JetStream is transport, never the truth. If its folder is deleted, its
//     limits dropped a message or a message is damaged, Fetch returns NotFound
//     and the caller makes the batch again; the stream makes itself anew.
//   - Every call ends: at the context's deadline, or after 30 s without one.
//
// It does not keep anything for ever: Purge drops a step, age and size limits
// drop what was forgotten. What must last is in the ledger.
package natsbus
