package repo

import (
	"context"
	"errors"
	"io"
	"iter"
)

var errStub = errors.New("not built yet")

// Repo is an open repository.
type Repo struct{}

// Txn is a transaction.
type Txn struct{}

// Config is the typed view of a repository's configuration.
type Config struct{}

// Ref is a named commit.
type Ref struct {
	Name       string // "name" or "remote:name"
	Commit     Checksum
	Alias      string // the ref that this one is a symlink to, or empty
	Collection string // the collection of a mirrored ref, or empty
}

// Stats counts what a transaction did.
type Stats struct {
	MetadataTotal, MetadataWritten int
	ContentTotal, ContentWritten   int
	ContentBytes                   int64
}

// LockKind is shared or exclusive.
type LockKind uint8

// The kinds of lock.
const (
	LockShared LockKind = iota + 1
	LockExclusive
)

// Lock is a held lock.
type Lock struct{}

// PartialState says whether objects of a commit may be absent.
type PartialState uint8

// The states of a commit.
const (
	CommitComplete PartialState = iota
	CommitPartial
	CommitFsckPartial
)

func Init(path string, mode Mode) (*Repo, error)                             { return nil, errStub }
func Open(path string) (*Repo, error)                                        { return nil, errStub }
func (r *Repo) Close() error                                                 { return errStub }
func (r *Repo) Mode() Mode                                                   { return 0 }
func (r *Repo) Path() string                                                 { return "" }
func (r *Repo) Config() *Config                                              { return nil }
func (r *Repo) SetConfig(group, key, value string) error                     { return errStub }
func (r *Repo) Has(n ObjectName) (bool, error)                               { return false, errStub }
func (r *Repo) IsPartial(c Checksum) (PartialState, error)                   { return 0, errStub }
func (r *Repo) Objects(context.Context) iter.Seq2[ObjectName, error]         { return nil }
func (r *Repo) ResolveRev(rev string) (Checksum, error)                      { return Checksum{}, errStub }
func (r *Repo) ResolveRef(refspec string) (Checksum, error)                  { return Checksum{}, errStub }
func (r *Repo) Refs(prefix string) ([]Ref, error)                            { return nil, errStub }
func (r *Repo) SetRef(ctx context.Context, refspec string, c Checksum) error { return errStub }
func (r *Repo) DeleteRef(ctx context.Context, refspec string) error          { return errStub }
func (r *Repo) SetAlias(ctx context.Context, name, target string) error      { return errStub }
func (r *Repo) DeleteObject(ctx context.Context, n ObjectName) error         { return errStub }
func ValidateRef(name string) error                                          { return errStub }
func ParseRefspec(s string) (remote, ref string, err error)                  { return "", "", errStub }
func (r *Repo) Lock(ctx context.Context, k LockKind) (*Lock, error)          { return nil, errStub }
func (l *Lock) Unlock() error                                                { return errStub }
func (r *Repo) Begin(ctx context.Context) (*Txn, error)                      { return nil, errStub }

func (r *Repo) Metadata(ctx context.Context, name ObjectName) ([]byte, error) { return nil, errStub }
func (r *Repo) FileInfo(ctx context.Context, c Checksum) (*FileInfo, error)   { return nil, errStub }
func (r *Repo) OpenFile(ctx context.Context, c Checksum) (io.ReadCloser, *FileInfo, error) {
	return nil, nil, errStub
}

// A transaction reads what it has staged as well as what the repository holds.
func (t *Txn) Metadata(ctx context.Context, name ObjectName) ([]byte, error) { return nil, errStub }
func (t *Txn) FileInfo(ctx context.Context, c Checksum) (*FileInfo, error)   { return nil, errStub }
func (t *Txn) OpenFile(ctx context.Context, c Checksum) (io.ReadCloser, *FileInfo, error) {
	return nil, nil, errStub
}
func (t *Txn) Repo() *Repo { return nil }

func (t *Txn) WriteMetadata(ctx context.Context, typ ObjectType, data []byte) (Checksum, error) {
	return Checksum{}, errStub
}
func (t *Txn) WriteMetadataAs(ctx context.Context, name ObjectName, data []byte) error {
	return errStub
}
func (t *Txn) WriteFile(ctx context.Context, h *FileHeader, size int64, r io.Reader) (Checksum, error) {
	return Checksum{}, errStub
}
func (t *Txn) WriteFileAs(ctx context.Context, want Checksum, h *FileHeader, size int64, r io.Reader) error {
	return errStub
}
func (t *Txn) HasObject(name ObjectName) (bool, error) { return false, errStub }
func (t *Txn) MarkPartial(c Checksum)                  {}
func (t *Txn) UnmarkPartial(c Checksum)                {}

// WriteDetachedMetadata takes a serialised a{sv}; nil is none.
func (t *Txn) WriteDetachedMetadata(ctx context.Context, c Checksum, data []byte) error {
	return errStub
}
func (t *Txn) SetRef(refspec string, c Checksum) error   { return errStub }
func (t *Txn) DeleteRef(refspec string) error            { return errStub }
func (t *Txn) Commit(ctx context.Context) (Stats, error) { return Stats{}, errStub }
func (t *Txn) Abort() error                              { return errStub }
