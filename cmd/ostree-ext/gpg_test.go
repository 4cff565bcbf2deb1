package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gpg is a program that has the one key of its directory, which it makes when it is first asked. It exports the key,
// lists it, and signs standard input with it.
func gpg() {
	fl := flag.NewFlagSet("gpg", flag.ExitOnError)
	export, list, sign := fl.Bool("export", false, ""), fl.Bool("list-keys", false, ""), fl.Bool("detach-sign", false, "")
	home, user := fl.String("homedir", "", ""), fl.String("local-user", "", "")
	for _, name := range []string{"batch", "no-armor", "no-textmode", "no-autostart", "with-colons"} {
		fl.Bool(name, false, "")
	}
	_ = fl.Parse(os.Args[1:]) // it ends the program if it fails
	key, err := gpgKey(filepath.Join(*home, "key"))
	if err == nil && *sign && *user == "nobody" {
		err = errors.New("gpg: skipped \"nobody\": No secret key")
	}
	switch {
	case err != nil:
	case *export:
		err = key.Serialize(os.Stdout)
	case *list:
		_, err = fmt.Printf("pub:u:256:22\nfpr:::::::::%X:\n", key.PrimaryKey.Fingerprint)
	case *sign:
		err = openpgp.DetachSign(os.Stdout, key, os.Stdin, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// gpgKey reads the key in a file, which it makes if there is none.
func gpgKey(name string) (*openpgp.Entity, error) {
	data, err := os.ReadFile(name)
	if err == nil {
		return openpgp.ReadEntity(packet.NewReader(bytes.NewReader(data)))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := openpgp.NewEntity("Alice", "", "alice@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := key.SerializePrivate(&b, nil); err != nil {
		return nil, err
	}
	return key, os.WriteFile(name, b.Bytes(), 0o600)
}
