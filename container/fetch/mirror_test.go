package fetch_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
)

// registriesConf sets registries.conf for this test.
func registriesConf(t *testing.T, text string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", name)
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
}

// fill replaces the names of servers in a text by their addresses.
func fill(text string, servers map[string]*server) string {
	for name, s := range servers {
		text = strings.ReplaceAll(text, name, s.host)
	}
	return text
}

func TestMirrorsAreAskedAsRegistriesConfSays(t *testing.T) {
	data := noise(30, 100_000)
	const (
		twoMirrors = `
[[registry]]
prefix = "os.example/team"
location = "MAIN/a"
insecure = true
[[registry.mirror]]
location = "ONE/a"
insecure = true
[[registry.mirror]]
location = "TWO/a"
insecure = true
`
		byDigest = twoMirrors + `pull-from-mirror = "digest-only"` + "\n"
		byTag    = twoMirrors + `pull-from-mirror = "tag-only"` + "\n"
		image    = "os.example/team/b:c"
		digested = "os.example/team/b@sha256:" +
			"0000000000000000000000000000000000000000000000000000000000000000"
	)
	status := func(code int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.WriteHeader(code)
			return true
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n == 1 {
			cutAfter(w, data, 50_000)
		}
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		name, conf, image string
		main, one, two    func(http.ResponseWriter, *http.Request, int) bool
		dead              string
		// how often each is asked for the blob; -1 stands for any number
		want map[string]int
		fail bool
	}{
		{name: "the first mirror has it", conf: twoMirrors, image: image, want: map[string]int{"ONE": 1}},
		{name: "the first mirror is dead", conf: twoMirrors, image: image, dead: "ONE", want: map[string]int{"TWO": 1}},
		{name: "the first mirror does not have it", conf: twoMirrors, image: image, one: status(http.StatusNotFound),
			want: map[string]int{"ONE": 1, "TWO": 1}},
		{name: "the first mirror lets nobody in", conf: twoMirrors, image: image, one: status(http.StatusForbidden),
			want: map[string]int{"ONE": 1, "TWO": 1}},
		{name: "the first mirror is busy", conf: twoMirrors, image: image, one: status(http.StatusTooManyRequests),
			want: map[string]int{"ONE": 1, "TWO": 1}},
		{name: "the first mirror has something else", conf: twoMirrors, image: image,
			one:  func(w http.ResponseWriter, _ *http.Request, _ int) bool { whole(w, data[1:]); return true },
			want: map[string]int{"ONE": 1, "TWO": 1}},
		{name: "the first mirror breaks in the middle", conf: twoMirrors, image: image, one: cut,
			want: map[string]int{"ONE": -1, "TWO": 1}},
		{name: "no mirror has it", conf: twoMirrors, image: image, one: status(http.StatusNotFound),
			two: status(http.StatusNotFound), want: map[string]int{"ONE": 1, "TWO": 1, "MAIN": 1}},
		{name: "nobody has it", conf: twoMirrors, image: image, one: status(http.StatusNotFound),
			two: status(http.StatusNotFound), main: status(http.StatusNotFound),
			want: map[string]int{"ONE": 1, "TWO": 1, "MAIN": 1}, fail: true},
		{name: "a mirror for digests, and a tag", conf: byDigest, image: image, dead: "ONE",
			want: map[string]int{"MAIN": 1}},
		{name: "a mirror for digests, and a digest", conf: byDigest, image: digested, dead: "ONE",
			want: map[string]int{"TWO": 1}},
		{name: "a mirror for tags, and a tag", conf: byTag, image: image, dead: "ONE", want: map[string]int{"TWO": 1}},
		{name: "a mirror for tags, and a digest", conf: byTag, image: digested, dead: "ONE",
			want: map[string]int{"MAIN": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			servers := map[string]*server{"MAIN": newServer(t, data), "ONE": newServer(t, data), "TWO": newServer(t, data)}
			servers["MAIN"].bend, servers["ONE"].bend, servers["TWO"].bend = c.main, c.one, c.two
			registriesConf(t, fill(c.conf, servers))
			if c.dead != "" {
				servers[c.dead].Close()
			}
			clock := newClock()
			got, err := read(t.Context(), newClient(t, c.image, access.Options{Anonymous: true},
				fetch.Options{Clock: clock}), describe(data))
			if c.fail {
				status, ok := errors.AsType[*access.StatusError](err)
				if !ok || status.Host != servers["MAIN"].host || !strings.Contains(err.Error(), servers["ONE"].host) {
					t.Errorf("got %v", err)
				}
			} else if err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			for name, s := range servers {
				if n := len(s.asked()); n != c.want[name] && c.want[name] != -1 {
					t.Errorf("%s was asked %d times, want %d", name, n, c.want[name])
				}
			}
			if clock.total() > time.Second {
				t.Errorf("waited %v", clock.slept)
			}
		})
	}
}

// A mirror that is dead costs time once, not for each blob.
func TestADeadMirrorIsAskedLastForAWhile(t *testing.T) {
	blobs := [][]byte{noise(31, 1000), noise(32, 1000), noise(33, 1000)}
	main, one := newServer(t, blobs...), newServer(t, blobs...)
	var alive atomic.Bool
	var tried atomic.Int32
	one.guard = func(http.ResponseWriter, *http.Request) bool {
		tried.Add(1)
		if !alive.Load() {
			panic(http.ErrAbortHandler)
		}
		return true
	}
	registriesConf(t, fill("[[registry]]\nlocation = \"MAIN\"\ninsecure = true\n[[registry.mirror]]\n"+
		"location = \"ONE\"\ninsecure = true\n", map[string]*server{"MAIN": main, "ONE": one}))
	clock := newClock()
	var notices []fetch.Notice
	c := newClient(t, main.host+"/a/b:c", access.Options{Anonymous: true},
		fetch.Options{Clock: clock, Notice: func(n fetch.Notice) { notices = append(notices, n) }})
	for _, b := range blobs[:2] {
		if _, err := read(t.Context(), c, describe(b)); err != nil {
			t.Fatal(err)
		}
	}
	if before := tried.Load(); before == 0 || len(notices) != 1 || notices[0].Endpoint != one.host+"/a/b" {
		t.Errorf("the mirror was tried %d times; notices: %v", before, notices)
	}
	before := tried.Load()
	if _, err := read(t.Context(), c, describe(blobs[0])); err != nil || tried.Load() != before {
		t.Errorf("the mirror was tried again: %v", err)
	}
	alive.Store(true)
	if err := clock.Sleep(t.Context(), 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), c, describe(blobs[2])); err != nil || len(one.asked()) != 1 {
		t.Errorf("the mirror was asked %d times after a while: %v", len(one.asked()), err)
	}
}

func TestABlockedRegistryIsNotRead(t *testing.T) {
	s := newServer(t)
	registriesConf(t, "[[registry]]\nlocation = \""+s.host+"\"\nblocked = true\n")
	if _, err := fetch.New(s.host+"/a/b:c", plain, fetch.Options{}); err == nil ||
		!strings.Contains(err.Error(), "blocked") || s.all > 0 {
		t.Errorf("got %v", err)
	}
}

// Credentials that are given belong to the registry. A file may have some for each mirror.
func TestMirrorsGetTheirOwnCredentials(t *testing.T) {
	data := noise(34, 1000)
	main, one := newServer(t, data), newServer(t, data)
	registriesConf(t, fill("[[registry]]\nlocation = \"MAIN\"\ninsecure = true\n[[registry.mirror]]\n"+
		"location = \"ONE\"\ninsecure = true\n", map[string]*server{"MAIN": main, "ONE": one}))
	var shown []string
	guard := func(s *server) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			user, _, ok := r.BasicAuth()
			if ok {
				shown = append(shown, s.host+" "+user)
				return true
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
	}
	main.guard, one.guard = guard(main), guard(one)
	given := access.Options{Credentials: &access.Credentials{Username: "given", Password: "secret"}}
	if _, err := read(t.Context(), newClient(t, main.host+"/a/b:c", given, fetch.Options{}), describe(data)); err != nil ||
		len(shown) != 1 || shown[0] != main.host+" given" {
		t.Errorf("got %v; shown: %q", err, shown)
	}
	shown = nil
	file := access.Options{AuthFile: authFile(t, one.host, "mirror", "secret")}
	if _, err := read(t.Context(), newClient(t, main.host+"/a/b:c", file, fetch.Options{}), describe(data)); err != nil ||
		len(shown) != 1 || shown[0] != one.host+" mirror" {
		t.Errorf("got %v; shown: %q", err, shown)
	}
}

// One proxy may stand for several registries, which it tells apart by a parameter.
func TestAProxyIsToldOfTheRegistry(t *testing.T) {
	data := noise(35, 1000)
	one := newServer(t, data)
	registriesConf(t, fill("[[registry]]\nlocation = \"os.example\"\n[[registry.mirror]]\n"+
		"location = \"ONE\"\ninsecure = true\nnamespace-proxy = \"os.example\"\n", map[string]*server{"ONE": one}))
	told := ""
	one.bend = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		told = r.URL.Query().Get("ns")
		return false
	}
	_, err := read(t.Context(), newClient(t, "os.example/a/b:c", access.Options{Anonymous: true}, fetch.Options{}),
		describe(data))
	if err != nil || told != "os.example" {
		t.Errorf("told %q, %v", told, err)
	}
}
