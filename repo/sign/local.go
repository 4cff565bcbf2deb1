package sign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// ForLocal returns the verifier for commits of a repository that are not attributed to a remote. opts.Demand says which
// kinds of signatures are demanded. GPG keys are those in the files *.gpg of the repository and in the system's
// keyrings, keys of other engines the system's.
func ForLocal(r *repo.Repo, opts Options) (*Verifier, error) {
	v := &Verifier{wanted: "one of type ed25519 or spki is needed"}
	if opts.Demand&GPGKind != 0 {
		v.gpg = &gpgVerifier{now: opts.clock()}
		if err := v.gpg.addLocal(r, &opts); err != nil {
			return nil, err
		}
	}
	if opts.Demand&SignAPIKind == 0 {
		return v, nil
	}
	for _, e := range engines {
		if _, err := findEngine(e.name, opts.getenv); err != nil {
			continue
		}
		set := &keySet{engine: e}
		if err := set.addDirs(opts.systemDirs(), true); err != nil {
			return nil, err
		}
		v.engines = append(v.engines, set)
	}
	return v, nil
}

// ForGPG returns a verifier that demands a GPG signature by one of the keys that ids mean: fingerprints, ends of them
// with at least 16 digits, or user ids that gpg knows. Without any, every key counts. The keys are those of [ForLocal],
// or, if home is not empty, all in that directory of GnuPG.
//
// If gpg is needed and not installed, the error wraps a [*hosttool.MissingError].
func ForGPG(ctx context.Context, r *repo.Repo, ids []string, home string, opts Options) (*Verifier, error) {
	v := &gpgVerifier{now: opts.clock()}
	for _, id := range ids {
		known := []string{id}
		if !isKeyID(id) {
			var err error
			if known, err = gpgKeyIDs(ctx, home, id); err != nil {
				return nil, fmt.Errorf("GPG key %s: %w", id, err)
			}
		}
		v.only = append(v.only, known...)
	}
	if home == "" {
		return &Verifier{gpg: v}, v.addLocal(r, &opts)
	}
	v.hint = "import the key of the publisher there, with 'gpg --import'"
	data, err := exportKeys(ctx, home)
	if err != nil {
		return nil, err
	}
	v.add(home, data)
	return &Verifier{gpg: v}, nil
}

// addLocal adds the keys for commits without a remote.
func (v *gpgVerifier) addLocal(r *repo.Repo, opts *Options) error {
	v.hint = "put the key of the publisher into a file *.gpg of the repository"
	if err := v.addKeyrings(r.Path()); err != nil {
		return err
	}
	return v.addGlobal(opts)
}

// exportKeys returns the public keys in a directory of GnuPG, which only gpg can read.
func exportKeys(ctx context.Context, home string) ([]byte, error) {
	program, err := hosttool.Find(gpgProgram, gpgPackage)
	if err != nil {
		return nil, err
	}
	return hosttool.Run(ctx, program, "--export", "--batch", "--no-autostart", "--homedir="+home)
}

// add adds the keys of a file.
func (v *gpgVerifier) add(name string, data []byte) {
	v.places = append(v.places, name)
	v.ring.add(name, data)
}

// addFiles adds the keys of files. One that cannot be read is noted, and others are used.
func (v *gpgVerifier) addFiles(files []string) {
	for _, file := range files {
		data, err := readFile(file, false)
		if err != nil {
			v.ring.broken = append(v.ring.broken, err)
			continue
		}
		v.ring.add(file, data)
	}
}

// notKeyrings are files of GnuPG that end in .gpg.
var notKeyrings = []string{"trustdb.gpg", "secring.gpg"}

// addKeyrings adds the keyrings in a directory, as libostree does: the files *.gpg.
func (v *gpgVerifier) addKeyrings(dir string) error {
	v.places = append(v.places, filepath.Join(dir, "*.gpg"))
	files, err := listDir(dir)
	if err != nil {
		return err
	}
	v.addFiles(slices.DeleteFunc(files, func(file string) bool {
		return !strings.HasSuffix(file, ".gpg") || slices.Contains(notKeyrings, filepath.Base(file))
	}))
	return nil
}

// addGlobal adds the system's keyrings.
func (v *gpgVerifier) addGlobal(opts *Options) error {
	dir := opts.getenv("OSTREE_GPG_HOME")
	if dir == "" {
		dir = opts.in("usr/share/ostree/trusted.gpg.d")
	}
	return v.addKeyrings(dir)
}

// addPaths adds the keys in the files and directories that gpgkeypath lists, separated by semicolons or commas.
func (v *gpgVerifier) addPaths(value, file string) error {
	const key = "gpgkeypath"
	separator := ";"
	if strings.Contains(value, ",") {
		if separator = ","; strings.Contains(value, ";") {
			return errValue(file, key, "it has both semicolons and commas: use one of them to separate paths")
		}
	}
	for path := range strings.SplitSeq(value, separator) {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return errValue(file, key, "%w", err)
		}
		files := []string{path}
		if info.IsDir() {
			if files, err = listDir(path); err != nil {
				return errValue(file, key, "%w", err)
			}
		}
		v.places = append(v.places, path)
		v.addFiles(files)
	}
	return nil
}

// errNoGPGKey is for messages about keys that gpg does not have.
var errNoGPGKey = errors.New("gpg has no such key")

// gpgKeyIDs returns the fingerprints of the keys that an id, a fingerprint or a user id means, including subkeys.
func gpgKeyIDs(ctx context.Context, home, id string) (ids []string, err error) {
	program, err := hosttool.Find(gpgProgram, gpgPackage)
	if err != nil {
		return nil, err
	}
	args := []string{"--list-keys", "--batch", "--no-autostart", "--with-colons"}
	if home != "" {
		args = append(args, "--homedir="+home)
	}
	out, err := hosttool.Run(ctx, program, append(args, "--", id)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && len(f) > 9 {
			ids = append(ids, f[9])
		}
	}
	if len(ids) == 0 {
		err = fmt.Errorf("%w: %s", errNoGPGKey, id)
	}
	return ids, err
}
