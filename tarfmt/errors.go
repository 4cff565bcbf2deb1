package tarfmt

import (
	"errors"
	"fmt"
)

// ErrInvalidStream is wrapped by errors about a stream that violates the format of tar or of layers. Errors of reading
// the stream and of writing objects do not wrap it.
var ErrInvalidStream = errors.New("invalid layer")

// ErrTooLarge is wrapped by errors about objects that no importer of layers takes, because they are larger than it
// allows.
var ErrTooLarge = errors.New("too large for a layer")

// streamError has the same text as in the reference implementation, so it does not add the text of ErrInvalidStream.
type streamError struct {
	msg   string
	cause error
}

func (e *streamError) Error() string {
	if e.cause != nil {
		return e.msg + ": " + e.cause.Error()
	}
	return e.msg
}

func (e *streamError) Unwrap() error { return e.cause }

func (e *streamError) Is(target error) bool { return target == ErrInvalidStream }

func invalidf(format string, args ...any) error {
	return &streamError{msg: fmt.Sprintf(format, args...)}
}

// invalid is invalidf with a cause.
func invalid(cause error, format string, args ...any) error {
	return &streamError{msg: fmt.Sprintf(format, args...), cause: cause}
}
