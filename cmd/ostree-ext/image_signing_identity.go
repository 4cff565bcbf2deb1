package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/signer"
	"github.com/ostree-ext/ostree-ext-go/container/trust/keyless"
)

// The names of the options for signing with an identity.
const (
	signTokenFlag  = "sign-identity-token"
	signConfigFlag = "signing-config"
)

// ambient is the value of the option that asks for the token of the job in which the program runs.
const ambient = "auto"

// identity makes signatures of an identity.
type identity struct {
	// token returns the identity token. It is asked for when it is needed, since it is good for minutes only.
	token  func(context.Context) (string, error)
	config []byte

	once  sync.Once
	known string
	err   error
}

// Bundle implements [signer.Maker].
func (i *identity) Bundle(ctx context.Context, subject digest.Digest) ([]byte, error) {
	o, err := i.options(ctx)
	if err != nil {
		return nil, err
	}
	return keyless.Sign(ctx, subject, o)
}

// Attachment implements [signer.Maker].
func (i *identity) Attachment(ctx context.Context, payload []byte) ([]byte, map[string]string, error) {
	o, err := i.options(ctx)
	if err != nil {
		return nil, nil, err
	}
	return keyless.SignPayload(ctx, payload, o)
}

func (i *identity) options(ctx context.Context) (keyless.SignOptions, error) {
	i.once.Do(func() { i.known, i.err = i.token(ctx) })
	return keyless.SignOptions{Token: i.known, Config: i.config}, i.err
}

// identity returns what signs with the identity that the flags name.
func (f *imageSignFlags) identity(ctx context.Context, a *app) (signer.Maker, error) {
	if f.config == "" {
		return nil, usagef("--%s needs --%s: 'ostree-ext container trust update --signing-config=FILE' writes that of the "+
			"public good instance", signTokenFlag, signConfigFlag)
	}
	config, err := a.readFile(ctx, signConfigFlag, f.config)
	if err != nil {
		return nil, err
	}
	i := &identity{config: config}
	switch f.token {
	case ambient:
		if os.Getenv("SIGSTORE_ID_TOKEN") == "" && os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") == "" {
			return nil, fmt.Errorf("--%s=%s: %w", signTokenFlag, ambient, keyless.ErrNoToken)
		}
		i.token = func(ctx context.Context) (string, error) { return keyless.AmbientToken(ctx, os.Getenv, nil) }
	case "-":
		token, err := a.readToken(ctx, "-")
		if err != nil {
			return nil, err
		}
		i.token = func(context.Context) (string, error) { return token, nil }
	default:
		if _, err := a.readToken(ctx, f.token); err != nil {
			return nil, err
		}
		i.token = func(ctx context.Context) (string, error) { return a.readToken(ctx, f.token) }
	}
	return i, nil
}

// readToken reads an identity token from a file, or from standard input.
func (a *app) readToken(ctx context.Context, name string) (string, error) {
	data, err := a.readFile(ctx, signTokenFlag, name)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("--%s: %s: %w", signTokenFlag, name, errNotAToken)
	}
	return token, nil
}

var errNotAToken = errors.New("it is not an identity token: that is one word, three parts joined by dots")
