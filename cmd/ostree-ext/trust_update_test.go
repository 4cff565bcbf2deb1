package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ostree-ext/ostree-ext-go/internal/testca"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// newUpdates returns a TUF repository with a trusted root and a configuration for signing.
func newUpdates(t *testing.T) *testca.Repository {
	t.Helper()
	r := testca.NewRepository(t)
	publish(t, r, time.Hour)
	return r
}

func publish(t *testing.T, r *testca.Repository, good time.Duration) {
	t.Helper()
	a := testca.New(t)
	r.Publish(time.Now().Add(good), map[string][]byte{
		"trusted_root.json": a.Root().JSON(), "signing_config.v0.2.json": a.SigningConfig("https://sigstore.example"),
	})
}

// updates is the script command "updates start | publish | expire | back". It starts a TUF repository at
// https://tuf.example and writes root.json. Then it publishes other files, files that have expired, or what was there
// first.
func updates(t *testing.T) func(*testscript.TestScript, bool, []string) {
	type state struct {
		*testca.Repository
		first map[string][]byte
	}
	var mu sync.Mutex
	running := map[string]*state{}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: updates start | publish | expire | back")
		}
		mu.Lock()
		defer mu.Unlock()
		work := ts.Getenv("WORK")
		switch r := running[work]; args[0] {
		case "start":
			r = &state{Repository: newUpdates(t)}
			r.first, running[work] = r.Files(), r
			ts.Check(os.WriteFile(ts.MkAbs("root.json"), r.Root(), 0o644))
			certs := filepath.Join(work, ".updates")
			ts.Check(os.MkdirAll(certs, 0o755))
			for _, v := range testreg.Named(t, r, certs, "tuf.example") {
				name, value, _ := strings.Cut(v, "=")
				ts.Setenv(name, value)
			}
		case "publish":
			publish(t, r.Repository, time.Hour)
		case "expire":
			publish(t, r.Repository, -time.Hour)
		case "back":
			r.Serve(r.first)
		default:
			ts.Fatalf("unknown: %s", args[0])
		}
	}
}

func TestWhereTheTrustedRootBelongs(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/home/me/.config")
	for uid, want := range map[int]string{
		0: "/etc/ostree-ext/trusted_root.json", 1000: "/home/me/.config/ostree-ext/trusted_root.json",
	} {
		if got, err := trustedRootFile(uid); err != nil || got != want {
			t.Errorf("%d: got %s, %v", uid, got, err)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", "")
	if got, err := trustedRootFile(1000); err == nil {
		t.Errorf("got %s", got)
	}
}
