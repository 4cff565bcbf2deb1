package sign

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// ForRemote returns the verifier for commits that are attributed to a remote of a repository. What it demands, and by
// which keys, is in the section of the remote, in the repository's config, in /etc/ostree/remotes.d if the repository
// is the system's, or in a parent repository:
//
//   - gpg-verify, which is true by default: a GPG signature. Keys are in NAME.trustedkeys.gpg beside the configuration,
//     or else in the files *.gpg of $OSTREE_GPG_HOME or /usr/share/ostree/trusted.gpg.d, and always in the files and
//     directories that gpgkeypath names.
//   - sign-verify, which is false by default: a signature of one of the engines that it lists, or of any if it is true.
//     The keys of an engine are verification-ENGINE-key and those in the file verification-ENGINE-file. An engine that
//     is listed must have some. Otherwise they are the system's, in trusted.ENGINE of /etc/ostree and of
//     /usr/share/ostree.
//
// If both are demanded, there must be a good signature of each. Keys in revoked.ENGINE of these directories never
// count.
//
// Errors wrap [ErrNoRemote], [ErrNotConfigured] if the configuration demands nothing, [ErrConfig], or are about reading
// files.
func ForRemote(r *repo.Repo, name string, opts Options) (*Verifier, error) {
	if _, _, err := repo.ParseRefspec(name + ":ref"); err != nil {
		return nil, fmt.Errorf("%w: %.80q is not a name of a remote", ErrConfig, name)
	}
	remote, err := findRemote(r, name, &opts)
	if err != nil {
		return nil, err
	}
	v := &Verifier{}
	fail := func(err error) (*Verifier, error) { return nil, fmt.Errorf("remote %s: %w", name, err) }
	if ok, err := remote.demandsGPG(); err != nil {
		return fail(err)
	} else if ok {
		if v.gpg, err = remote.gpg(); err != nil {
			return fail(err)
		}
	}
	if v.engines, v.wanted, err = remote.engines(); err != nil {
		return fail(err)
	}
	if v.gpg == nil && len(v.engines) == 0 {
		return nil, wordedf(ErrNotConfigured, "Cannot verify commit for remote %s; GPG verification disabled, and no "+
			"signapi verifiers configured: set gpg-verify or sign-verify in [remote %q] of %s", name, name,
			remote.sections[0].file)
	}
	return v, nil
}

// remote is the configuration of a remote.
type remote struct {
	name string
	opts *Options
	// sections are those of the repository and of its parents, of which the first one that has a key counts.
	sections []section
}

// section is the section of a remote in one file.
type section struct {
	repo *repo.Repo
	file string
	get  func(key string) (string, bool)
	// extra is the directory that has the remote's keyring if the repository does not have it, or empty.
	extra string
}

// findRemote finds a remote in a repository and its parents.
func findRemote(r *repo.Repo, name string, opts *Options) (*remote, error) {
	found := &remote{name: name, opts: opts}
	var searched []string
	for ; r != nil; r = r.Parent() {
		dir := remotesDir(r, opts)
		s := section{repo: r, file: filepath.Join(r.Path(), "config"), extra: dir}
		group := fmt.Sprintf("remote \"%s\"", name)
		if config := r.Config(); slices.Contains(config.Groups(), group) {
			s.get = func(key string) (string, bool) { return config.Get(group, key) }
		}
		searched = append(searched, s.file)
		if dir != "" {
			searched = append(searched, filepath.Join(dir, "*.conf"))
			if err := s.search(dir, group); err != nil {
				return nil, err
			}
		}
		if s.get != nil {
			found.sections = append(found.sections, s)
		}
	}
	if len(found.sections) == 0 {
		return nil, wordedf(ErrNoRemote, "Remote %q not found: there is no section [remote %q] in %s", name, name,
			strings.Join(searched, " or "))
	}
	return found, nil
}

// search looks for the section in the files of a directory. There must be only one.
func (s *section) search(dir, group string) error {
	files, err := listDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if !strings.HasSuffix(file, ".conf") {
			continue
		}
		data, err := readFile(file, false)
		if err != nil {
			return err
		}
		parsed, err := keyfile.Parse(data)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
		}
		if !parsed.HasGroup(group) {
			continue
		}
		if s.get != nil {
			return fmt.Errorf("%w: Multiple specifications found for [%s]: in %s and in %s", ErrConfig, group, s.file, file)
		}
		s.file = file
		s.get = func(key string) (string, bool) { return parsed.Get(group, key) }
	}
	return nil
}

// remotesDir returns the directory with configurations of remotes that belongs to a repository: it has one if it is the
// system's.
func remotesDir(r *repo.Repo, opts *Options) string {
	own, err := os.Stat(r.Path())
	if err != nil {
		return ""
	}
	for _, path := range []string{"ostree/repo", "sysroot/ostree/repo"} {
		if system, err := os.Stat(opts.in(path)); err == nil && os.SameFile(own, system) {
			return opts.in("etc/ostree/remotes.d")
		}
	}
	return ""
}

// get returns the value of a key, and the file that has it.
func (r *remote) get(key string) (value, file string, ok bool) {
	for _, s := range r.sections {
		if v, ok := s.get(key); ok {
			return v, s.file, true
		}
	}
	return "", "", false
}

// errValue is an error about the value of a key.
func errValue(file, key, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s: %w", ErrConfig, file, key, fmt.Errorf(format, args...))
}

// boolean parses a value as GLib does.
func boolean(s string) (v, ok bool) {
	switch strings.TrimRight(s, " \t") {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

func (r *remote) demandsGPG() (bool, error) {
	if r.opts.Demand != 0 {
		return r.opts.Demand&GPGKind != 0, nil
	}
	const key = "gpg-verify"
	value, file, ok := r.get(key)
	if !ok {
		return true, nil
	}
	demanded, ok := boolean(value)
	if !ok {
		return false, errValue(file, key, "%.80q is neither true nor false", value)
	}
	return demanded, nil
}

// gpg reads the keys for GPG signatures.
func (r *remote) gpg() (*gpgVerifier, error) {
	v := &gpgVerifier{now: r.opts.clock()}
	const suffix = ".trustedkeys.gpg"
	own := filepath.Join(r.sections[0].repo.Path(), r.name+suffix)
	v.hint = fmt.Sprintf("put the key of the publisher into %s, or name its file with gpgkeypath in [remote %q] of %s",
		own, r.name, r.sections[0].file)
	found, err := r.ownKeyring(v, suffix)
	if err != nil {
		return nil, err
	}
	if value, file, ok := r.get("gpgkeypath"); ok {
		if err := v.addPaths(value, file); err != nil {
			return nil, err
		}
	}
	if !found {
		return v, v.addGlobal(r.opts)
	}
	return v, nil
}

// ownKeyring adds the first of the files that may be the keyring of the remote.
func (r *remote) ownKeyring(v *gpgVerifier, suffix string) (found bool, err error) {
	for _, s := range r.sections {
		for _, dir := range []string{s.repo.Path(), s.extra} {
			if dir == "" {
				continue
			}
			name := filepath.Join(dir, r.name+suffix)
			data, err := readFile(name, false)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return false, err
			}
			v.add(name, data)
			return true, nil
		}
	}
	return false, nil
}

// engines reads the keys of the engines that sign-verify lists, and describes what is accepted.
func (r *remote) engines() (sets []*keySet, wanted string, err error) {
	const key = "sign-verify"
	value, file, _ := r.get(key)
	all, isBool := boolean(value)
	demanded := r.opts.Demand&SignAPIKind != 0
	switch {
	case r.opts.Demand != 0 && !demanded, !demanded && value == "", !demanded && isBool && !all:
		return nil, "", nil
	case value == "" || isBool:
		for _, e := range engines {
			if _, err := findEngine(e.name, r.opts.getenv); err != nil {
				continue
			}
			set, err := r.keys(e, false)
			if err != nil {
				return nil, "", err
			}
			sets = append(sets, set)
		}
		return sets, "one of type ed25519 or spki is needed", nil
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(strings.TrimRight(value, " \t"), ";"), ";") {
		e, err := findEngine(strings.TrimSpace(name), r.opts.getenv)
		if err != nil {
			return nil, "", errValue(file, key, "%w", err)
		}
		set, err := r.keys(e, true)
		if err != nil {
			return nil, "", err
		}
		sets, names = append(sets, set), append(names, e.name)
	}
	return sets, "one of type " + strings.Join(names, " or ") + " is needed", nil
}

// keys reads the keys of an engine.
func (r *remote) keys(e *engine, required bool) (*keySet, error) {
	set := &keySet{engine: e}
	inlineKey, fileKey := "verification-"+e.name+"-key", "verification-"+e.name+"-file"
	inline, inlineFile, hasInline := r.get(inlineKey)
	path, pathFile, hasPath := r.get(fileKey)
	if required && !hasInline && !hasPath {
		return nil, fmt.Errorf("%w: No keys found for required signapi type %s: set %s or %s in [remote %q] of %s", ErrConfig,
			e.name, inlineKey, fileKey, r.name, r.sections[0].file)
	}
	if hasPath {
		if err := set.addFile(path, false); err != nil {
			return nil, fmt.Errorf("%s: %s: Failed loading '%s' keys: %w", pathFile, fileKey, e.name, err)
		}
	}
	if hasInline {
		if err := set.add([]byte(inline)); err != nil {
			return nil, errValue(inlineFile, inlineKey, "Failed loading '%s' keys: %w", e.name, err)
		}
	}
	return set, set.addDirs(r.opts.systemDirs(), !hasInline && !hasPath)
}
