package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// registries is the script command "registry [password | tls | busy | unsigned | referrers]". It starts a registry and
// sets $REGISTRY to its address. With "password" it requires the user me with the password secret. With "tls" it
// requires a client certificate, and writes the certificates to the directory certs. With "busy" it fails the first
// upload in the middle. With "unsigned" it refuses attachments. With "referrers" it lists the artifacts of a subject.
func registries(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) > 1 {
			ts.Fatalf("usage: registry [password | tls | busy | unsigned | referrers]")
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
		case "unsigned":
			r.Misbehave(testreg.Faults{Refuse: func(req *http.Request) int {
				if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, ".sig") {
					return http.StatusForbidden
				}
				return 0
			}})
		case "referrers":
			r.ServeReferrers(testreg.Referrers{In: func(string) bool { return true }})
		}
		ts.Setenv("REGISTRY", r.Host)
	}
}
