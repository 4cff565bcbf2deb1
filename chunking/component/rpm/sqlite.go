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

	"modernc.org/sqlite" // also the driver "sqlite"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// sqliteHeaders reads the form SQLite. The library wants a file of its own, which may be written to: what the last
// transaction left in the log beside the database, as builds of containers do, belongs to it.
func sqliteHeaders(ctx context.Context, h *headers, name string) (err error) {
	x := h.r.X
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
	// The schema may say that values are computed, and are enormous.
	conn, err := db.Conn(ctx)
	if err != nil {
		return asBroken(ctx, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := sqlite.Limit(conn, sqliteLimitLength, maxHeader+1<<10); err != nil {
		return err
	}
	return eachSQLite(ctx, conn, h)
}

// sqliteLimitLength is SQLITE_LIMIT_LENGTH of the library: the bytes of a value or row.
const sqliteLimitLength = 0

func eachSQLite(ctx context.Context, db *sql.Conn, h *headers) (err error) {
	var typ string
	if err := db.QueryRowContext(ctx, "SELECT type FROM sqlite_master WHERE name = 'Packages'").Scan(&typ); err != nil {
		return asBroken(ctx, err)
	}
	if typ != "table" {
		return broken("Packages is a %.20s", typ)
	}
	rows, err := db.QueryContext(ctx, "SELECT hnum, blob FROM Packages ORDER BY hnum")
	if err != nil {
		return asBroken(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var number, blob sql.RawBytes
		if err := rows.Scan(&number, &blob); err != nil {
			return asBroken(ctx, err)
		}
		if err := h.add(ctx, fmt.Sprintf("package number %.20s", number), blob); err != nil {
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
