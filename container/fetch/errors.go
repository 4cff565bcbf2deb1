package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

var (
	// ErrStalled is wrapped by errors about a server that sent nothing for [Options.Stall].
	ErrStalled = errors.New("the server sends nothing")
	// ErrCut is wrapped by errors about a connection that ended before the blob did.
	ErrCut = errors.New("the connection ended early")
	// ErrKeptDamaged is wrapped by the error for a blob of which a part was kept earlier, and whose digest is wrong: the
	// kept bytes or those that followed are damaged. The kept bytes are removed, so that the next attempt begins anew. It
	// is worth one.
	ErrKeptDamaged = errors.New("the kept part of the blob or the rest is damaged: it was removed, the next attempt " +
		"reads the blob from its beginning")
)

// IncompleteError is the error for a blob that could not be read to its end, after all attempts.
type IncompleteError struct {
	// Offset is the number of bytes that were read, of Size.
	Offset, Size int64
	// Kept is set if a later attempt continues there, as [Options.Dir] allows.
	Kept bool
	// Why says which bound was reached.
	Why string
	// Err is what happened last, at every endpoint.
	Err error
}

// Error implements error.
func (e *IncompleteError) Error() string {
	text := fmt.Sprintf("given up after %s of %s, %s: %v", sizes.Format(e.Offset), sizes.Format(e.Size), e.Why, e.Err)
	if e.Kept {
		text += " (what was read is kept: the next attempt continues there)"
	}
	return text
}

// Unwrap returns what happened last.
func (e *IncompleteError) Unwrap() error { return e.Err }

// AnswerError is the error for an answer that does not fit the request: its range, or the size of the blob.
type AnswerError struct {
	// Endpoint is the repository that was asked.
	Endpoint string
	// Problem is what does not fit.
	Problem string
	// size is set if the blob has another size than its descriptor.
	size bool
}

// Error implements error.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s sent an answer that does not fit: %s", e.Endpoint, e.Problem)
}

// Unwrap returns [oci.ErrMismatch] if the blob has another size than its descriptor.
func (e *AnswerError) Unwrap() error {
	if e.size {
		return oci.ErrMismatch
	}
	return nil
}

// LaterError is the error for a server that is busy for longer than [Options.MaxWait].
type LaterError struct {
	// Wait is how long the server wants not to be asked.
	Wait time.Duration
	// Err is its answer.
	Err error
}

// Error implements error.
func (e *LaterError) Error() string {
	return fmt.Sprintf("%v: it asks to wait %v: try again then", e.Err, e.Wait.Round(time.Second))
}

// Unwrap returns the answer.
func (e *LaterError) Unwrap() error { return e.Err }

// hideEOF returns an error that does not wrap io.EOF or io.ErrUnexpectedEOF. Whoever reads a blob would take it for the
// blob's end.
func hideEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (%s)", ErrCut, strings.TrimSpace(err.Error()))
	}
	return err
}

// transient reports whether an error of a request may be gone at the next: a broken connection. reached says whether
// the host answered before; if not, a name that does not exist is not asked for again.
func transient(err error, reached bool) bool {
	if errors.Is(err, ErrStalled) || errors.Is(err, ErrCut) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if errors.Is(err, access.ErrPlainHTTP) {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return reached || !dns.IsNotFound
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		// crypto/tls reports alerts so: a certificate that is not accepted, for example.
		return op.Op != "remote error" && op.Op != "local error"
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
