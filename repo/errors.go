package repo

import "errors"

// Errors that callers branch on. They are returned wrapped, with what was asked for.
var (
	// ErrObjectNotFound says that neither the repository nor its parents hold an object.
	ErrObjectNotFound = errors.New("no such object")
	// ErrRefNotFound says that a ref or revision names nothing.
	ErrRefNotFound = errors.New("not found")
	// ErrNotUnique says that the ids of several commits begin with the given digits.
	ErrNotUnique = errors.New("not unique")
	// ErrInvalidRef says that a string is not a valid ref name.
	ErrInvalidRef = errors.New("invalid ref")
	// ErrNoSpace says that a write would leave less free space than the repository's configuration demands.
	ErrNoSpace = errors.New("not enough free space")
	// ErrLocked says that another user of the repository held its lock for longer than the configured timeout.
	ErrLocked = errors.New("resource temporarily unavailable")
	// ErrReadOnly says that the user may not write to the repository.
	ErrReadOnly = errors.New("repository is not writable")
	// ErrReadOnlyMode says that repositories of this mode can only be read.
	ErrReadOnlyMode = errors.New("repositories of this mode are read-only")
	// ErrSpecialFile says that a directory to commit has a device, a FIFO or a socket.
	ErrSpecialFile = errors.New("not a regular file or symlink")
	// ErrTxnDone says that a transaction was used after its end.
	ErrTxnDone = errors.New("transaction is over")
)
