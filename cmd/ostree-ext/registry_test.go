package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// registries is the script command "registry [password | tls | busy]". It starts a registry and sets $REGISTRY to its
// address. With "password" it requires the user me with the password secret. With "tls" it requires a client
// certificate, and writes the certificates to the directory certs. With "busy" it fails the first upload in the middle.
func registries(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) > 1 {
			ts.Fatalf("usage: registry [password | tls | busy]")
		}
		kind := append(args, "")[0]
		if kind == "tls" {
			ts.Check(os.MkdirAll(ts.MkAbs("certs"), 0o755))
			ts.Setenv("REGISTRY", testreg.NewTLS(t, ts.MkAbs("certs")).Host)
			return
		}
		r := testreg.New(t)
		switch kind {
		case "password":
			r.Misbehave(testreg.Faults{User: "me", Password: "secret"})
		case "busy":
			r.Misbehave(testreg.Faults{FailUploads: 1})
		}
		ts.Setenv("REGISTRY", r.Host)
	}
}
