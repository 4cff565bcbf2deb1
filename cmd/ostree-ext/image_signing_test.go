package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/testca"
)

// key is the script command "key FILE [PASSPHRASE]". It writes a new private key, encrypted as cosign does if there is
// a passphrase, and the public key to FILE.pub.
func key(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: key FILE [PASSPHRASE]")
	}
	private, public, err := newSigningKey(args[1:]...)
	ts.Check(err)
	name := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(name, private, 0o600))
	ts.Check(os.WriteFile(strings.TrimSuffix(name, ".key")+".pub", public, 0o600))
}

// newSigningKey returns the PEM forms of a new private key, and of its public key.
func newSigningKey(passphrase ...string) (secret, public []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	block := pem.Block{Type: "PRIVATE KEY", Bytes: der}
	if len(passphrase) > 0 {
		block.Type = "ENCRYPTED SIGSTORE PRIVATE KEY"
		if block.Bytes, err = encrypted.Encrypt(der, []byte(passphrase[0])); err != nil {
			return nil, nil, err
		}
	}
	point, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&block), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: point}), nil
}

// authorities is the script command "authorities". It starts what an identity needs to sign, writes signing.json,
// authorities.json for those who verify, and the token of a person to token, and sets $JOB_URL to where GitHub Actions
// would offer the token of a job.
func authorities(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) > 0 {
			ts.Fatalf("usage: authorities")
		}
		authority := testca.New(t)
		s := authority.Serve(t)
		s.IdentityToken("https://github.com/o/os/.github/workflows/build.yml@refs/heads/main", "https://actions.example")
		for name, data := range map[string][]byte{
			"signing.json":        authority.SigningConfig(s.URL),
			"signing-rekor2.json": authority.SigningConfigRekor2(s.URL, true),
			"authorities.json":    authority.Root().JSON(),
			"authorities.crt":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
			"token":               []byte(s.IdentityToken("me@example.com", "https://accounts.example") + "\n"),
		} {
			ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o600))
		}
		ts.Setenv("SSL_CERT_FILE", ts.MkAbs("authorities.crt"))
		ts.Setenv("JOB_URL", s.URL+"/token?api-version=2.0")
	}
}

// typed is the script command "typed STATUS TEXT COMMAND...". It runs the command at a terminal, and types the text
// once the command asks for something secret. The terminal must not show it. The text ^C is an interrupt.
func typed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: typed STATUS TEXT COMMAND...")
	}
	program, err := exec.LookPath(args[2])
	ts.Check(err)
	master, slave := terminal(ts)
	defer master.Close()
	defer slave.Close()
	var said bytes.Buffer
	c := exec.Command(program, args[3:]...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = ts.MkAbs("."), environ(ts), slave, &said, &said
	ts.Check(c.Start())
	for range 3000 {
		if !echoes(ts, slave) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if echoes(ts, slave) {
		ts.Fatalf("%q does not ask", args[2:])
	}
	if args[1] == "^C" {
		err = c.Process.Signal(os.Interrupt)
	} else {
		_, err = master.WriteString(args[1] + "\n")
	}
	ts.Check(err)
	_ = c.Wait()
	ts.Logf("%s", said.String())
	if got := strconv.Itoa(c.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("status is %s, want %s", got, args[0])
	}
	if !echoes(ts, slave) {
		ts.Fatalf("the terminal is left silent")
	}
	if n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCINQ); err != nil || n > 0 {
		ts.Fatalf("the terminal shows %d bytes of what was typed, %v", n, err)
	}
	if strings.Contains(said.String(), args[1]) {
		ts.Fatalf("what was typed is printed")
	}
}

func echoes(ts *testscript.TestScript, terminal *os.File) bool {
	t, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	ts.Check(err)
	return t.Lflag&unix.ECHO != 0
}

// environ returns the variables of a script.
func environ(ts *testscript.TestScript) []string {
	return append(os.Environ(), "HOME="+ts.Getenv("HOME"), "REGISTRY_AUTH_FILE="+ts.Getenv("REGISTRY_AUTH_FILE"),
		"CONTAINERS_REGISTRIES_CONF="+ts.Getenv("CONTAINERS_REGISTRIES_CONF"))
}
