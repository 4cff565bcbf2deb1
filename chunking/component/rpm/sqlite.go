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
	"slices"

	"modernc.org/sqlite" // also the driver "sqlite"

	"github.com/ostree-ext/ostree-ext-go/chunking/component/pkgdb"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// walSuffix is what follows the name of the database in that of its write-ahead log.
const walSuffix = "-wal"

// sqliteHeaders reads the form SQLite. It copies the database to disk, since the library needs a file that it may
// write. It also copies the write-ahead log, where builds of containers often leave the last transaction.
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
	if err := copyOut(ctx, x, name+walSuffix, copied+walSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(copied)+"?_pragma=trusted_schema(0)&_pragma=cell_size_check(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// A hostile schema can compute enormous values.
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

// sqliteLimitLength is SQLITE_LIMIT_LENGTH of the library: the number of the limit on a value or row in bytes.
const sqliteLimitLength = 0

// eachSQLite adds the packages of a SQLite database.
func eachSQLite(ctx context.Context, db *sql.Conn, h *headers) (err error) {
	var typ string
	if err := db.QueryRowContext(ctx, "SELECT type FROM sqlite_master WHERE name = 'Packages'").Scan(&typ); err != nil {
		return asBroken(ctx, err)
	}
	if typ != "table" {
		return broken("Packages is not a table but a %.20s", typ)
	}
	if err := plainRows(ctx, db, packagesQuery); err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, packagesQuery)
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

// packagesQuery reads the headers by their number, which is the key of the table.
const packagesQuery = "SELECT hnum, blob FROM Packages ORDER BY hnum"

// plainSteps are the instructions that SQLite needs to read the rows of a table by their key.
var plainSteps = []string{
	"Init", "Transaction", "Goto", "Halt", "OpenRead", "Rewind", "Next", "Rowid", "Column", "ResultRow", "Noop",
}

// plainRows returns an error that wraps [pkgdb.ErrBroken] if a query does more than read rows: a hostile schema can
// compute values, or have a view behind a virtual table, and take any time for a row.
func plainRows(ctx context.Context, db *sql.Conn, query string) (err error) {
	rows, err := db.QueryContext(ctx, "EXPLAIN "+query)
	if err != nil {
		return asBroken(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var step string
		var skip sql.RawBytes
		if err := rows.Scan(&skip, &step, &skip, &skip, &skip, &skip, &skip, &skip); err != nil {
			return asBroken(ctx, err)
		}
		if !slices.Contains(plainSteps, step) {
			return broken("Packages is not a table of headers by their number: to read it, SQLite needs the instruction %.20s",
				step)
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
		return fmt.Errorf("%w: it has %s", pkgdb.ErrTooLarge, sizes.Format(e.Size))
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
