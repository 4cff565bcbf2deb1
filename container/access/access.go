package access

import (
	"errors"
	"time"
)

// ErrAuthConflict is returned if [Options] names an auth file and asks for anonymous access.
var ErrAuthConflict = errors.New("conflicting authentication options: an auth file and anonymous access")

// UserAgent is the value of the User-Agent header of all requests.
const UserAgent = "ostree-ext-go"

// Options says how to speak to a registry. The zero value is what most callers need.
type Options struct {
	// AuthFile is the file with credentials. If set, no other file is read. It must exist.
	AuthFile string
	// Credentials are used for the registry if set. No file is read then, and mirrors do not get them.
	Credentials *Credentials
	// Anonymous sends no credentials, not even Credentials. It cannot be combined with AuthFile.
	Anonymous bool
	// CertDir is a directory with *.crt, *.cert and *.key files for the registry. If empty, the certs.d directory of the
	// container tools is used.
	CertDir string
	// InsecureSkipTLSVerify accepts any certificate, and uses plain HTTP if the registry does not answer HTTPS.
	InsecureSkipTLSVerify bool
	// Silence is for how long no byte may move while a server is to answer or to take what is sent; 0 means a minute. The
	// request fails then with a [*SilentError], and is repeated where those are that end with a broken connection.
	Silence time.Duration
	// Warn is called, if set, with what was ignored: files with credentials that nobody named and that cannot be read, or
	// whose helper programs fail, and with what delays reading and writing. It may be called more than once
	// with the same text, and by several goroutines.
	Warn func(string)
}

// Credentials are a user name with a password, or one of the tokens.
type Credentials struct{ Username, Password, IdentityToken, RegistryToken string }

// Check returns [ErrAuthConflict] if the options contradict each other.
func (o Options) Check() error {
	if o.Anonymous && o.AuthFile != "" {
		return ErrAuthConflict
	}
	return nil
}
