package rpm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// sqliteHeaders reads the form SQLite. The library needs a writable copy: container builds often leave the last
// transactions in the log beside the database, and the library applies the log.
func sqliteHeaders(ctx context.Context, x *rootfs.Index, name string, f func([]byte) error) (err error) {
	dir, err := os.MkdirTemp("", "ostree-ext-rpmdb-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := filepath.Join(dir, "rpmdb.sqlite")
	if err := copyOut(ctx, x, name, copied); err != nil {
		return err
	}
	if err := copyOut(ctx, x, name+"-wal", copied+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(copied)+"?_pragma=trusted_schema(0)&_pragma=cell_size_check(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return eachSQLite(ctx, db, f)
}

func eachSQLite(ctx context.Context, db *sql.DB, f func([]byte) error) (err error) {
	var typ string
	if err := db.QueryRowContext(ctx, "SELECT type FROM sqlite_master WHERE name = 'Packages'").Scan(&typ); err != nil {
		return asBroken(ctx, err)
	}
	if typ != "table" {
		return broken("Packages is a %.20s", typ)
	}
	rows, err := db.QueryContext(ctx, "SELECT blob FROM Packages WHERE length(blob) <= ? ORDER BY hnum",
		maxData+16*maxTags+8)
	if err != nil {
		return asBroken(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var blob sql.RawBytes
		if err := rows.Scan(&blob); err != nil {
			return asBroken(ctx, err)
		}
		if err := f(blob); err != nil {
			return err
		}
	}
	return asBroken(ctx, rows.Err())
}

// asBroken wraps an error of the library in [pkgdb.ErrBroken], unless the context is done.
func asBroken(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", pkgdb.ErrBroken, err)
}

// copyOut copies a file of the tree.
func copyOut(ctx context.Context, x *rootfs.Index, name, to string) (err error) {
	r, e, err := x.Open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if e.Size > maxDatabase {
		return fmt.Errorf("%w: %d bytes", pkgdb.ErrTooLarge, e.Size)
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
