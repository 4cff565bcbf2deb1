package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ostree-ext/ostree-ext-go/repo"
)

// secretDir is where the secret of a repository is, below it. Libostree leaves what is in extensions alone.
const secretDir = "extensions/ostree-ext"

const (
	secretName = "secret"
	secretSize = 32
)

// readSecret returns the secret with which this program marks what it wrote into a repository, or nil if there is none
// that can be read.
func readSecret(r *repo.Repo) []byte {
	root, err := os.OpenRoot(filepath.Join(r.Path(), secretDir))
	if err != nil {
		return nil
	}
	defer root.Close()
	return secretIn(root)
}

func secretIn(root *os.Root) []byte {
	f, err := root.Open(secretName)
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 {
		return nil
	}
	secret, err := io.ReadAll(io.LimitReader(f, secretSize+1))
	if err != nil || len(secret) != secretSize {
		return nil
	}
	return secret
}

// makeSecret is like [readSecret], and makes a secret if there is none. Only the owner of the repository can read it.
func makeSecret(r *repo.Repo) (secret []byte, err error) {
	if secret := readSecret(r); secret != nil {
		return secret, nil
	}
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("the secret of repository %s: %w", r.Path(), err)
	}
	dir := filepath.Join(r.Path(), secretDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	// It appears in one step, so that of two processes that make one both use the first.
	temp := rand.Text()
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fail(err)
	}
	made := make([]byte, secretSize)
	_, _ = rand.Read(made) // it never fails
	_, err = f.Write(made)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = root.Link(temp, secretName); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err = errors.Join(err, root.Remove(temp)); err != nil {
		return fail(err)
	}
	if secret = secretIn(root); secret == nil {
		return fail(fmt.Errorf("%s is not %d bytes that only the owner can read: remove it", secretName, secretSize))
	}
	return secret, nil
}
