package devserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grouse-rl/grouse"
)

const (
	databaseFile = "temporal.db"
	schemaFile   = "temporal.schema.json"
	clusterName  = "active"

	// retention is how long the history of a closed run can be looked at.
	retention = 90 * 24 * time.Hour
)

// schemaMark says which schema a database file has. The server sets a schema
// up when the file is missing, never checks it and never migrates it.
type schemaMark struct {
	SQLite     string `json:"sqlite"`
	Visibility string `json:"visibility"`
	ClusterID  string `json:"cluster_id"`
}

// prepareDatabase makes the database of dir if it is missing, and returns its
// mark. Invalid if the file there has another schema than this server's.
func prepareDatabase(dir, namespace string) (schemaMark, error) {
	path := filepath.Join(dir, databaseFile)
	mark, err := readMark(dir)
	if err != nil {
		return mark, err
	}
	_, statErr := os.Stat(path)
	fresh := errors.Is(statErr, fs.ErrNotExist)
	switch {
	case statErr != nil && !fresh:
		return mark, fmt.Errorf("open %s: %w", path, statErr)
	case fresh:
		mark = schemaMark{SQLite: sqlite.Version, Visibility: sqlite.VisibilityVersion, ClusterID: uuid.NewString()}
	case mark.SQLite != sqlite.Version || mark.Visibility != sqlite.VisibilityVersion:
		return mark, grouse.Errorf(grouse.Invalid, "%s has Temporal schema %q/%q, this grouse needs %q/%q",
			path, mark.SQLite, mark.Visibility, sqlite.Version, sqlite.VisibilityVersion).
			WithFix("runs do not need this file to go on: move it away (mv %s %s.old) and start again; `grouse resume NAME` then continues from the run's own ledger", path, path)
	}
	if !fresh {
		return mark, createNamespace(sqlConfig(path), namespace)
	}
	// The mark is first, then the whole database appears by a rename: whatever
	// moment a crash picks, the next start finds either nothing or all of it.
	if err := writeJSON(dir, schemaFile, mark); err != nil {
		return mark, fmt.Errorf("mark the schema: %w", err)
	}
	temporary := filepath.Join(dir, "."+databaseFile+".new")
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(temporary + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return mark, fmt.Errorf("make %s: %w", path, err)
		}
	}
	cfg := sqlConfig(temporary)
	cfg.ConnectAttributes["journal_mode"] = "delete" // one file, to be renamed
	if err := sqlite.SetupSchema(cfg); err != nil {
		return mark, fmt.Errorf("make %s: %w", path, err)
	}
	if err := createNamespace(cfg, namespace); err != nil {
		return mark, err
	}
	if err := os.Rename(temporary, path); err != nil {
		return mark, fmt.Errorf("make %s: %w", path, err)
	}
	return mark, nil
}

func readMark(dir string) (schemaMark, error) {
	var mark schemaMark
	data, err := os.ReadFile(filepath.Join(dir, schemaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return mark, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &mark)
	}
	if err != nil {
		return mark, grouse.Errorf(grouse.Corrupt, "read %s: %w", filepath.Join(dir, schemaFile), err).
			WithFix("move %s and this file away; runs go on from their own ledgers", filepath.Join(dir, databaseFile))
	}
	return mark, nil
}

func createNamespace(cfg *config.SQL, namespace string) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, namespace, false, maps.Clone(SearchAttributes))
	if err == nil {
		ns.Detail.Config.Retention = durationpb.New(retention)
		err = sqlite.CreateNamespaces(cfg, ns)
	}
	if err != nil {
		return fmt.Errorf("make namespace %q: %w", namespace, err)
	}
	return nil
}

func sqlConfig(path string) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: path,
		MaxConns:     1,
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "1", // NORMAL: whole after a power cut, its last commits may be lost
		},
	}
}
