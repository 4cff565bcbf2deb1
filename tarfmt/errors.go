package tarfmt

import (
	"errors"
	"fmt"
)

// ErrInvalidStream is wrapped by errors about a stream that breaks the rules of tar or of its format, as opposed to
// one that could not be read or whose objects could not be written.
var ErrInvalidStream = errors.New("invalid layer")

// streamError has the words that users of the reference implementation know, so it does not add its own.
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
