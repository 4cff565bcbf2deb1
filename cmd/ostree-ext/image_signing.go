package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/dest"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// imageSignFlags are the options of each command that pushes an image to a registry and can sign it then.
type imageSignFlags struct {
	key, passphrase, format string
	// token and config are for signing with an identity.
	token, config string
}

// The names of the options.
const (
	signKeyFlag        = "sign-by-sigstore-private-key"
	signPassphraseFlag = "sign-passphrase-file"
	signFormatFlag     = "sign-format"
)

func (f *imageSignFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.key, signKeyFlag, "", "private key, a PEM `FILE`, to sign the pushed image with")
	fs.StringVar(&f.passphrase, signPassphraseFlag, "", "`FILE` whose first line is the passphrase of the private key "+
		"(default: $COSIGN_PASSWORD, else it is asked for at the terminal)")
	fs.StringVar(&f.token, signTokenFlag, "", "`FILE` with an identity token to sign with instead of a key, - for "+
		"standard input, or auto for that of the job in GitHub Actions or GitLab CI")
	fs.StringVar(&f.config, signConfigFlag, "", "`FILE` with the addresses for signing with an identity, "+
		"a signing_config.json")
	fs.StringVar(&f.format, signFormatFlag, "", "`FORMAT` of signatures: attachment, bundle or both "+
		"(default: both, and bundle with an identity)")
}

// imageSigner signs images after they were pushed.
type imageSigner struct {
	ref  imgref.ImageReference
	opts signer.Options
	// again is the command that signs the image, without its reference.
	again []string
}

// signer returns what signs an image after it was pushed to ref, or nil if the flags do not ask for that. It reads the
// key, so that a mistake is found before any work is done.
func (f *imageSignFlags) signer(
	ctx context.Context, a *app, ref imgref.ImageReference, names []string, registry access.Options,
) (*imageSigner, error) {
	if err := f.check(); err != nil || !f.wanted() {
		return nil, err
	}
	if ref.Transport != imgref.Registry {
		return nil, usagef("%w, and %s is not in one", signer.ErrNotRegistry, ref)
	}
	s := &imageSigner{ref: ref, opts: signer.Options{Registry: registry, Format: f.formats()}}
	all, err := dest.Names(ref, names)
	if err != nil {
		return nil, usagef("--additional-tag: %w", err)
	}
	s.opts.Names = all[1:]
	s.again = f.command(registry, names)
	if f.token != "" {
		s.opts.Maker, err = f.identity(ctx, a)
		return s, err
	}
	key, err := f.readKey(ctx, a)
	if err != nil {
		return nil, err
	}
	s.opts.Key = key
	return s, nil
}

// wanted reports whether the flags ask for a signature.
func (f *imageSignFlags) wanted() bool { return f.key != "" || f.token != "" }

// formats returns in which forms to sign.
func (f *imageSignFlags) formats() signer.Format {
	switch {
	case f.format != "":
		return signer.Format(f.format)
	case f.token != "":
		return signer.Bundle
	}
	return signer.Both
}

// check returns a usage error if the flags do not fit together.
func (f *imageSignFlags) check() error {
	switch {
	case f.key != "" && f.token != "":
		return usagef("--%s and --%s: choose one", signKeyFlag, signTokenFlag)
	case f.passphrase != "" && f.key == "":
		return usagef("--%s needs --%s", signPassphraseFlag, signKeyFlag)
	case f.config != "" && f.token == "":
		return usagef("--%s needs --%s", signConfigFlag, signTokenFlag)
	case f.format != "" && !f.wanted():
		return usagef("--%s needs --%s or --%s", signFormatFlag, signKeyFlag, signTokenFlag)
	case !slices.Contains(signer.Formats(), f.formats()):
		return usagef("invalid value '%s' for '--%s': give attachment, bundle or both", f.format, signFormatFlag)
	}
	return nil
}

// readKey reads the private key, and warns if everybody can read it.
func (f *imageSignFlags) readKey(ctx context.Context, a *app) (*signer.Key, error) {
	data, err := a.readFile(ctx, signKeyFlag, f.key)
	if err != nil {
		return nil, err
	}
	key, err := signer.ReadKey(data, func() ([]byte, error) { return f.readPassphrase(ctx, a) })
	if err != nil {
		return nil, fmt.Errorf("--%s: %s: %w", signKeyFlag, f.key, err)
	}
	if st, err := os.Stat(f.key); err == nil && !key.Encrypted() && st.Mode().IsRegular() &&
		st.Mode().Perm()&fs.FileMode(0o004) != 0 {
		a.warn(fmt.Sprintf("--%s: every user of this machine can read %s, and it is not encrypted: chmod 600 keeps it "+
			"secret", signKeyFlag, f.key))
	}
	return key, nil
}

// readPassphrase returns the passphrase of an encrypted key.
func (f *imageSignFlags) readPassphrase(ctx context.Context, a *app) ([]byte, error) {
	if f.passphrase != "" {
		data, err := ctxio.ReadFile(ctx, f.passphrase)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", signPassphraseFlag, err)
		}
		line, _, _ := bytes.Cut(data, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), nil
	}
	if secret, ok := os.LookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(secret), nil
	}
	secret, err := a.askSecretly("Passphrase of " + f.key + ": ")
	if errors.Is(err, errNoTerminal) {
		err = fmt.Errorf("the key is encrypted: give --%s, or set COSIGN_PASSWORD, which may be empty", signPassphraseFlag)
	}
	return secret, err
}

// command returns how container sign does the same later.
func (f *imageSignFlags) command(registry access.Options, names []string) []string {
	c := []string{"ostree-ext", "container", "sign"}
	add := func(flag, value string) {
		if value != "" {
			c = append(c, "--"+flag+"="+value)
		}
	}
	add(signKeyFlag, f.key)
	add(signPassphraseFlag, f.passphrase)
	add(signTokenFlag, f.token)
	add(signConfigFlag, f.config)
	add(signFormatFlag, f.format)
	add("authfile", registry.AuthFile)
	add("cert-dir", registry.CertDir)
	if registry.Anonymous {
		c = append(c, "--auth-anonymous")
	}
	if registry.InsecureSkipTLSVerify {
		c = append(c, "--insecure-skip-tls-verification")
	}
	for _, n := range names {
		add("additional-tag", n)
	}
	return c
}

// signPushed signs the image that was pushed. It does nothing if s is nil.
func (a *app) signPushed(ctx context.Context, s *imageSigner, d digest.Digest) ([]signature, error) {
	if s == nil {
		return nil, nil
	}
	r, err := signer.Sign(ctx, s.ref, d, s.opts)
	if err != nil {
		name, _, _ := strings.Cut(s.ref.String(), "@")
		if strings.LastIndexByte(name, ':') < strings.LastIndexByte(name, '/') {
			name += ":latest" // the signature names it
		}
		again := append(s.again, name+"@"+d.String())
		return nil, fmt.Errorf("the image %s was pushed to %s, but it is not signed: %w; to sign it: %s",
			d, s.ref, err, shellWords(again))
	}
	a.warnAbsent(r)
	list := signatures(r)
	if !a.quiet {
		for _, line := range list {
			fmt.Fprintln(a.err, printable.Line("signed "+line.String()))
		}
	}
	return list, nil
}

// warnAbsent tells which members of an index are not signed themselves.
func (a *app) warnAbsent(r *signer.Result) {
	for _, d := range r.Absent {
		a.warn(fmt.Sprintf("the index lists %s, which is not in the repository: it is signed only as a part of the index",
			d))
	}
}

// signature is a signature in the JSON form of results.
type signature struct {
	Digest digest.Digest `json:"digest"`
	// On says what is signed: "index" or "manifest".
	On       string        `json:"on"`
	Kind     signer.Format `json:"kind"`
	Tag      string        `json:"tag,omitempty"`
	Referrer digest.Digest `json:"referrer,omitempty"`
	// New says that it was not there before.
	New bool `json:"new"`
}

func signatures(r *signer.Result) []signature {
	list := make([]signature, len(r.Signed))
	for i, s := range r.Signed {
		list[i] = signature{
			Digest: s.Digest, On: "manifest", Kind: s.Format, Tag: s.Tag, Referrer: s.Referrer, New: s.Added,
		}
		if s.Index {
			list[i].On = "index"
		}
	}
	return list
}

// String returns a line about the signature.
func (s signature) String() string {
	text := fmt.Sprintf("%s %s: %s", s.On, s.Digest, s.Kind)
	if s.Referrer != "" {
		text += " " + s.Referrer.String()
	}
	if s.Tag != "" {
		text += " at the tag " + s.Tag
	}
	if !s.New {
		text += ", which was there"
	}
	return text
}

// shellWords joins arguments into a line that a shell splits into the same.
func shellWords(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if strings.Trim(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:@+,%") != "" {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// errNoTerminal is returned if there is nobody to ask.
var errNoTerminal = errors.New("standard input is not a terminal")

// askSecretly asks for a line at the terminal, which does not show it.
func (a *app) askSecretly(question string) (line []byte, err error) {
	if a.terminal == nil {
		return nil, errNoTerminal
	}
	fd := int(a.terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, errNoTerminal
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, before))
		fmt.Fprintln(a.err)
	}()
	fmt.Fprint(a.err, printable.Line(question))
	// A terminal gives a line at a time.
	buf := make([]byte, 4096)
	n, err := a.in.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return bytes.TrimRight(buf[:n], "\r\n"), nil
}
