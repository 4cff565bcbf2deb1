package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// registries is the script command "registry [password | tls]", which starts a registry and puts its address into $REGISTRY.
// With "password" it wants to be asked by the user me with the password secret, with "tls" by a client that has the
// certificates that are put into the directory certs.
func registries(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) > 1 {
			ts.Fatalf("usage: registry [password | tls]")
		}
		kind := append(args, "")[0]
		if kind == "tls" {
			ts.Check(os.MkdirAll(ts.MkAbs("certs"), 0o755))
			ts.Setenv("REGISTRY", testreg.NewTLS(t, ts.MkAbs("certs")).Host)
			return
		}
		r := testreg.New(t)
		if kind == "password" {
			r.Misbehave(testreg.Faults{User: "me", Password: "secret"})
		}
		ts.Setenv("REGISTRY", r.Host)
	}
}
