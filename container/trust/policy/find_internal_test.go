package policy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestThePolicyIsTheFirstThatCanBeRead(t *testing.T) {
	t.Parallel()
	const (
		named  = "named.json"
		env    = "env.json"
		xdg    = "xdg/containers/policy.json"
		home   = "home/.config/containers/policy.json"
		etc    = "etc/containers/policy.json"
		vendor = "usr/share/containers/policy.json"
	)
	for _, c := range []struct {
		name      string
		files     []string
		broken    []string // directories with the names of files
		file, env string
		noXDG     bool
		want      string
		err       error
	}{
		{name: "the named one before all", files: []string{named, env, xdg, home, etc, vendor}, file: named, env: env,
			want: named},
		{name: "that of the variable", files: []string{env, xdg, home, etc, vendor}, env: env, want: env},
		{name: "the user's", files: []string{xdg, home, etc, vendor}, want: xdg},
		{name: "the user's in the home", files: []string{xdg, home, etc, vendor}, noXDG: true, want: home},
		{name: "the administrator's", files: []string{home, etc, vendor}, want: etc},
		{name: "the vendor's", files: []string{vendor}, want: vendor},
		{name: "one that cannot be read is passed over", files: []string{etc}, broken: []string{xdg}, want: etc},
		{name: "the named one must exist", files: []string{etc}, file: named, err: os.ErrNotExist},
		{name: "that of the variable must exist", files: []string{etc}, env: env, err: os.ErrNotExist},
		{name: "there is none", err: ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(name string) string {
				if name == "" {
					return ""
				}
				return filepath.Join(dir, name)
			}
			for _, f := range c.files {
				if err := errors.Join(os.MkdirAll(filepath.Dir(at(f)), 0o700), os.WriteFile(at(f), nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range c.broken {
				if err := os.MkdirAll(at(f), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			vars := map[string]string{envFile: at(c.env), "XDG_CONFIG_HOME": at("xdg")}
			if c.noXDG {
				delete(vars, "XDG_CONFIG_HOME")
			}
			h := host{env: func(name string) string { return vars[name] }, home: at("home"), top: dir}
			got, err := h.find(at(c.file))
			if !errors.Is(err, c.err) || got != at(c.want) {
				t.Errorf("got %q, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestPoliciesThatAreNotUsedAreKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := host{env: func(string) string { return "" }, home: dir, top: dir}
	user, etc := h.candidates()[0], h.candidates()[1]
	if err := errors.Join(os.MkdirAll(user, 0o700), os.MkdirAll(filepath.Dir(etc), 0o700),
		os.WriteFile(etc, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if unreadable, shadowed := h.passedOver(etc); !slices.Equal(unreadable, []string{user}) || shadowed != nil {
		t.Errorf("unreadable %q, shadowed %q", unreadable, shadowed)
	}
	d := diagnosis{host: h, rule: &Rule{File: etc}}
	d.whichPolicy()
	if want := user + " exists, but cannot be read, so that " + etc + " was used."; !slices.Equal(d.says, []string{want}) {
		t.Errorf("it says %q; want %q", d.says, want)
	}
	if err := errors.Join(os.Remove(user), os.WriteFile(user, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	d = diagnosis{host: h, rule: &Rule{File: user}}
	d.whichPolicy()
	if want := "The policy of this user, " + user + ", was used, and not " + etc + "."; !slices.Equal(d.says,
		[]string{want}) {
		t.Errorf("it says %q; want %q", d.says, want)
	}
	if unreadable, shadowed := h.passedOver(user); unreadable != nil || !slices.Equal(shadowed, []string{etc}) {
		t.Errorf("unreadable %q, shadowed %q", unreadable, shadowed)
	}
	if unreadable, shadowed := h.passedOver(filepath.Join(dir, "named")); unreadable != nil || shadowed != nil {
		t.Errorf("beside a named one: unreadable %q, shadowed %q", unreadable, shadowed)
	}
}

func TestKeysOfTheWrongKindAreCalledByTheirName(t *testing.T) {
	t.Parallel()
	inPEM := func(kind, content string) string {
		return "-----BEGIN " + kind + "-----\n" + content + "\n-----END " + kind + "-----\n"
	}
	for _, c := range []struct{ name, content, sigstore, gpg string }{
		{"nothing", "", "not a public key", "not an OpenPGP keyring"},
		{"text", "ssh-ed25519 AAAA", "not a public key", "not an OpenPGP keyring"},
		{"a keyring in ASCII", inPEM("PGP PUBLIC KEY BLOCK", "\n="), "OpenPGP key", ""},
		{"a certificate", inPEM("CERTIFICATE", "AAAA"), "a certificate", "not an OpenPGP keyring"},
		{"a private key", inPEM("ENCRYPTED SIGSTORE PRIVATE KEY", "AAAA"), "private key", "not an OpenPGP keyring"},
		{"something else", inPEM("DH PARAMETERS", "AAAA"), "DH PARAMETERS", ""},
		{"X25519", inPEM("PUBLIC KEY", "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="),
			"RSA, ECDSA and Ed25519 are possible", ""},
		{"Ed25519", inPEM("PUBLIC KEY", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="), "",
			"belongs to sigstoreSigned"},
		{"a keybox", "\x00\x00\x00\x20\x01\x01\x00\x02KBXf and more", "not a public key", "keybox"},
	} {
		_, err := publicKey([]byte(c.content))
		if c.sigstore == "" && err != nil || c.sigstore != "" && (err == nil || !strings.Contains(err.Error(), c.sigstore)) {
			t.Errorf("%s for sigstoreSigned: %v, want %q", c.name, err, c.sigstore)
		}
		if _, err := keyring([]byte(c.content)); err == nil || !strings.Contains(err.Error(), c.gpg) {
			t.Errorf("%s for signedBy: %v, want %q", c.name, err, c.gpg)
		}
	}
}
