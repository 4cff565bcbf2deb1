package sign

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// maxKeyFile bounds a file with keys, in bytes.
const maxKeyFile = 16 << 20

// readFile reads a file with keys, which must be a regular one unless special is set.
func readFile(name string, special bool) ([]byte, error) {
	flags := os.O_RDONLY
	if !special {
		flags |= unix.O_NONBLOCK // a FIFO must not make the open hang
	}
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.IsDir() || !special && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = fmt.Errorf("%s has more than %s", name, sizes.Format(maxKeyFile))
	}
	return data, err
}

// listDir returns the paths of the entries of a directory that are not directories, sorted. A directory that does not
// exist has none.
func listDir(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			paths = append(paths, path)
		}
	}
	return paths, err
}

// split returns the keys in the content of a file: the content of PEM blocks of the given kind, or else lines. Empty
// lines and those that begin with "#" are left out.
func (e *engine) split(data []byte, kind string) (keys [][]byte, err error) {
	if e.pem && bytes.Contains(data, []byte("-----BEGIN ")) {
		for rest := data; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return keys, nil
			}
			switch {
			case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
				return nil, errors.New("the key has a passphrase: take it off with 'openssl pkey -in FILE -out FILE'")
			case strings.HasSuffix(block.Type, kind):
				keys = append(keys, block.Bytes)
			}
		}
	}
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			keys = append(keys, line)
		}
	}
	return keys, nil
}

// The ends of the types of PEM blocks.
const (
	pemPublic = "PUBLIC KEY"
	pemSecret = "PRIVATE KEY"
)

// keySet are the public keys of one engine that are trusted, except those that were revoked.
type keySet struct {
	engine  *engine
	keys    []publicKey
	revoked map[string]string // by name of the key, the file that says so
	places  []string          // where keys were looked for
}

// add adds a key in the form that configurations have it.
func (s *keySet) add(text []byte) error {
	key, err := s.engine.public(text)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.keys, func(k publicKey) bool { return k.name == key.name }) {
		s.keys = append(s.keys, key)
	}
	return nil
}

// addFile adds the keys in a file. Those that cannot be parsed are skipped, but there must be one.
func (s *keySet) addFile(name string, special bool) error {
	data, err := readFile(name, special)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	keys, err := s.engine.split(data, pemPublic)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, name, err)
	}
	s.places = append(s.places, name)
	valid, why := false, errors.New("it is empty")
	for _, key := range keys {
		if err := s.add(key); err != nil {
			why = err
		} else {
			valid = true
		}
	}
	if !valid {
		return fmt.Errorf("%w: signature: %s: no valid keys in file '%s': %w", ErrConfig, s.engine.name, name, why)
	}
	return nil
}

// addTrusted adds the keys of a directory such as /etc/ostree: those in trusted.ENGINE and in the files of
// trusted.ENGINE.d. Files without a valid key are skipped.
func (s *keySet) addTrusted(dir string) error {
	files, err := filesOf(dir, "trusted."+s.engine.name)
	for _, file := range files {
		if s.addFile(file, false) != nil {
			continue
		}
	}
	s.places = append(s.places, filepath.Join(dir, "trusted."+s.engine.name)+"*")
	return err
}

// filesOf returns a file of a directory, if there is one, and those of the directory of the same name with ".d".
func filesOf(dir, name string) ([]string, error) {
	file := filepath.Join(dir, name)
	files, err := listDir(file + ".d")
	if _, missing := os.Stat(file); missing == nil {
		files = slices.Insert(files, 0, file)
	} else if !errors.Is(missing, fs.ErrNotExist) {
		err = errors.Join(err, missing)
	}
	return files, err
}

// addRevoked reads the keys that a directory says are revoked. Since one that is overlooked would be trusted, each must
// be valid.
func (s *keySet) addRevoked(dir string) error {
	files, err := filesOf(dir, "revoked."+s.engine.name)
	for _, file := range files {
		data, err := readFile(file, false)
		if err != nil {
			return fmt.Errorf("revoked keys: %w", err)
		}
		keys, err := s.engine.split(data, pemPublic)
		if err != nil {
			return fmt.Errorf("revoked keys: %s: %w", file, err)
		}
		for _, text := range keys {
			key, err := s.engine.public(text)
			if err != nil && !errors.Is(err, ErrWeak) {
				return fmt.Errorf("%w: %s: it has something that is not a key: %w", ErrConfig, file, err)
			}
			if s.revoked == nil {
				s.revoked = map[string]string{}
			}
			s.revoked[key.name] = file
		}
	}
	return err
}

// shownKeys is how many keys a message names, as with libostree.
const shownKeys = 3

// verify returns the good signatures of a commit. If there is none, it returns an error.
func (s *keySet) verify(commit []byte, list [][]byte) (good []Signature, err error) {
	name := s.engine.name
	switch {
	case len(s.keys) == 0:
		return nil, wordedf(ErrNoKey, "signature: %s: no keys loaded: there are none in %s", name,
			strings.Join(s.places, ", "))
	case len(list) == 0:
		return nil, wordedf(ErrUnsigned, "%s: no signatures found", name)
	}
	r := &refusal{}
	for _, sig := range list {
		for _, key := range s.keys {
			if !key.verify(commit, sig) {
				continue
			}
			if file, ok := s.revoked[key.name]; ok {
				r.causes = append(r.causes, &SignatureError{name, key.name,
					fmt.Errorf("%s: %w: key '%s' is in %s", name, ErrRevokedKey, key.name, file)})
			} else if signed := (Signature{Engine: name, Signer: key.name}); !slices.Contains(good, signed) {
				good = append(good, signed)
			}
		}
	}
	if len(good) > 0 {
		return good, nil
	}
	if len(r.causes) == 0 {
		r.causes = append(r.causes, &SignatureError{Engine: name, Err: s.unverified()})
	}
	return nil, r
}

// unverified says that none of the keys made any of the signatures.
func (s *keySet) unverified() error {
	if n := len(s.keys); n > shownKeys {
		return wordedf(ErrBadSignature, "%s: Signature couldn't be verified; tried %d keys", s.engine.name, n)
	}
	var names []string
	for _, key := range s.keys {
		names = append(names, "key '"+key.name+"'")
	}
	return wordedf(ErrBadSignature, "%s: Signature couldn't be verified with: %s", s.engine.name,
		strings.Join(names, "; "))
}
