package rpm

import (
	"database/sql"
	"os"
	"testing"
)

// Hooks for tests.
var (
	EachNDB     = eachNDB
	EachBDB     = eachBDB
	ReadPackage = readPackage
)

// Blobs returns the headers of a SQLite database on disk.
func Blobs(t testing.TB, database string) (blobs [][]byte) {
	t.Helper()
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = eachSQLite(t.Context(), db, func(b []byte) error {
		blobs = append(blobs, append([]byte(nil), b...))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return blobs
}

// AddWithoutCheckpoint adds each header again, so that it is only in the write-ahead log, and leaves the files in the
// state of a killed process.
func AddWithoutCheckpoint(t testing.TB, database, scratch string) {
	t.Helper()
	db, err := sql.Open("sqlite", database+"?_pragma=journal_mode(WAL)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("INSERT INTO Packages (blob) SELECT blob FROM Packages"); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(database + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(scratch+suffix, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(scratch + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(database+suffix, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
