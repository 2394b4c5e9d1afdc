// Package devserver runs Temporal's server, its Web UI and NATS JetStream
// inside this process, on files in one folder: what `grouse run` uses when it
// is not told of servers.
//
//	s, err := devserver.Start(ctx, devserver.Options{Dir: home})
//	if err != nil { ... }
//	defer s.Stop()
//	s.Info().Temporal // "127.0.0.1:7233"
//
// Everything listens on 127.0.0.1 only and is open to local users; NATS has no
// port unless one is asked for. A port that is taken is stepped over. Nothing
// is printed: Temporal and NATS write to logs/ in the folder.
//
// # In the folder
//
//	temporal.db           SQLite, WAL
//	temporal.schema.json  which schema that file has; a server with another refuses it
//	nats/                 JetStream
//	logs/                 temporal.log, nats.log
//	server.json           addresses, while the server runs
//	SERVER.LOCK           flock of the process that runs it
//
// Neither is synced to the disk at every write: a power cut may take the last moments
// of both. They are not the truth: what a run committed is in its ledger, which is
// synced, and it goes on from there, also if both are gone. A process that is killed
// loses nothing.
//
// It is no cluster: one process per folder, the second gets an error that names
// the first, and can use it (Running).
package devserver
