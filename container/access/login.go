package access

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrDenied is wrapped by errors about requests that a registry refused because of the credentials, or because there
// were none.
var ErrDenied = errors.New("access denied")

// A Login says which credentials there are for a repository, and where they were found. It has no secrets.
type Login struct {
	// Repository is the repository for which credentials were looked for. It begins with the registry.
	Repository string
	// Anonymous is set if no credentials were found, or none are to be used.
	Anonymous bool
	// User is the user name. It is empty for tokens.
	User string
	// From is the file with the credentials, or the one that names the helper. It is empty for credentials that were
	// given by [Options].
	From string
	// Helper is the program that was asked for the credentials, or empty.
	Helper string
	// Asked are the files that were searched, in order.
	Asked []string
}

// Registry returns the registry of the repository.
func (l Login) Registry() string {
	host, _, _ := strings.Cut(l.Repository, "/")
	return host
}

// String describes the credentials in a few words.
func (l Login) String() string {
	if l.Anonymous {
		if len(l.Asked) == 0 {
			return "without credentials"
		}
		return "without credentials, because there are none for it in " + strings.Join(l.Asked, ", ")
	}
	text := "with a token"
	if l.User != "" {
		text = fmt.Sprintf("as user %q", l.User)
	}
	switch {
	case l.Helper != "":
		text += fmt.Sprintf(" from the helper %s, which %s names", l.Helper, l.From)
	case l.From != "":
		text += " from " + l.From
	default:
		text += " from the command line"
	}
	return text
}

// DeniedError is the error for a request that a registry refused because of the credentials. It wraps [ErrDenied].
type DeniedError struct {
	// Login has the credentials that were used.
	Login Login
	// Err is what the registry answered.
	Err error
}

// Error implements error.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("%s was asked %s: %v: \"podman login %s\" renews credentials, and --authfile names another file",
		e.Login.Repository, e.Login, e.Err, e.Login.Registry())
}

// Unwrap returns [ErrDenied] and the answer.
func (e *DeniedError) Unwrap() []error { return []error{ErrDenied, e.Err} }

// StatusError is the error for an answer whose status says that a request failed.
type StatusError struct {
	// Host is the server that answered. It is not the registry's if the registry redirected the request.
	Host string
	// Code is the status, and Header the header of the answer. Header may be nil.
	Code   int
	Header http.Header
	// Message is what the server said, shortened.
	Message string
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.Host, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Login returns which credentials are used to read an image. The image's name may have a tag or a digest.
func (o Options) Login(image string) (Login, error) {
	named, err := parseName(image)
	if err != nil {
		return Login{}, err
	}
	_, login, err := o.find(named.Name())
	return login, err
}
