package rpm

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
)

// NDB and BDB read the forms of the database of the same names.
var NDB, BDB = eachNDB, eachBDB

// ReadForm reads a database of a form.
func ReadForm(
	ctx context.Context, form func(context.Context, *file, *headers) error, data []byte,
) (*pkgdb.Reader, error) {
	r := &pkgdb.Reader{}
	h := &headers{r: r, name: "database", left: 2*int64(len(data)) + maxHeader}
	return r, form(ctx, &file{bytes.NewReader(data), int64(len(data)), nil}, h)
}

// ReadPackage reads the package of a header. It returns nil for a key, which is not a package.
func ReadPackage(blob []byte) (*pkgdb.Package, error) {
	r := &pkgdb.Reader{}
	if err := addPackage(r, blob); err != nil || len(r.Packages) == 0 {
		return nil, err
	}
	return &r.Packages[0], nil
}

// Blobs returns the headers of a SQLite database on disk.
func Blobs(t testing.TB, database string) (blobs [][]byte) {
	t.Helper()
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT blob FROM Packages ORDER BY hnum")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var blob []byte
		if err := rows.Scan(&blob); err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, blob)
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
