package access

import (
	"errors"
)

// ErrAuthConflict says that [Options] asks for credentials and for none.
var ErrAuthConflict = errors.New("conflicting authentication options: an auth file and anonymous access")

// UserAgent is how this program calls itself.
const UserAgent = "ostree-ext-go"

// Options says how to speak to a registry. The zero value is what most callers need.
type Options struct {
	// AuthFile names the file with credentials, the only one that is read then. It must exist.
	AuthFile string
	// Credentials are those for the registry. Nothing else is looked up then, nor do mirrors get them.
	Credentials *Credentials
	// Anonymous forbids credentials, Credentials as well. It excludes AuthFile.
	Anonymous bool
	// CertDir is a directory with *.crt, *.cert and *.key files for the registry. Where it is empty, it is the one in
	// certs.d of the container tools.
	CertDir string
	// InsecureSkipTLSVerify accepts any certificate, and plain HTTP where HTTPS is not answered.
	InsecureSkipTLSVerify bool
}

// Credentials are what a registry asks for: a name with a password, or one of the tokens.
type Credentials struct{ Username, Password, IdentityToken, RegistryToken string }

// Check returns [ErrAuthConflict] where the options contradict each other.
func (o Options) Check() error {
	if o.Anonymous && o.AuthFile != "" {
		return ErrAuthConflict
	}
	return nil
}
