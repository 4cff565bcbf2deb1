package policyjson_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/trust/policyjson"
)

// The scopes of images, the most specific first, as package policy makes them.
func scopesOf(name string) (list []string) {
	list = append(list, name)
	for i := strings.LastIndexAny(name, ":@"); i > strings.LastIndexByte(name, '/'); i = -1 {
		list = append(list, name[:i])
	}
	for at := list[len(list)-1]; strings.Contains(at, "/"); list = append(list, at) {
		at = at[:strings.LastIndexByte(at, '/')]
	}
	host, _, _ := strings.Cut(list[len(list)-1], ":")
	for _, parent, ok := strings.Cut(host, "."); ok; _, parent, ok = strings.Cut(parent, ".") {
		list = append(list, "*."+parent)
	}
	return list
}

func TestARuleInAnotherSpellingIsNotPassedOver(t *testing.T) {
	t.Parallel()
	const passed = "passed over"
	for _, c := range []struct{ image, rules, want string }{
		// Rules that count as they are written, as for the container tools.
		{"quay.io/os:1", "quay.io", "quay.io"},
		{"QUAY.IO/os:1", "QUAY.IO", "QUAY.IO"},
		{"quay.io:443/os:1", "quay.io:443/os", "quay.io:443/os"},
		{"quay.io/os:1", "quay.io QUAY.IO", "quay.io"},
		{"quay.io/os:1", "quay.io:8443 other.io *.com docker.io", ""},
		{"quay.io:8443/os:1", "quay.io quay.io:8444", ""},
		{"quay.io:8443/os:1", "*.io quay.io", "*.io"},
		{"docker.io/library/debian:12", "docker.io/library docker.io/debian2", "docker.io/library"},
		{"docker.io/debian/x:12", "docker.io/debian", "docker.io/debian"},
		{"quay.io/os:1", "quay.io/os:A", ""},
		{"quay.io/os:a", "quay.io/os:A quay.io", "quay.io"},
		{"[::1]:5000/os:1", "[::1]:5000", "[::1]:5000"},
		{"localhost/os:1", "localhost", "localhost"},
		// Rules that are meant, and would not count.
		{"QUAY.IO/os:1", "quay.io", passed},
		{"QUAY.IO/os:1", "quay.io/os", passed},
		{"QUAY.IO/os:1", "QUAY.IO quay.io/os", passed},
		{"quay.io/os:1", "Quay.io/os quay.io", passed},
		{"quay.io/os:1", "quay.io/OS quay.io", passed},
		{"quay.io:443/os:1", "quay.io", passed},
		{"quay.io/os:1", "quay.io:443", passed},
		{"quay.io/os:1", "quay.io./os", passed},
		{"quay.io/os:1", "docker://quay.io/os", passed},
		{"quay.io/os:1", "https://quay.io", passed},
		{"quay.io/os:1", "quay.io/ *.io", passed},
		{"quay.io/os:1", "quay.io/*", passed},
		{"a.example.com/os:1", "*.Example.com", passed},
		{"docker.io/library/debian:12", "debian", passed},
		{"docker.io/library/debian:12", "docker.io/debian docker.io", passed},
		{"docker.io/library/debian:12", "docker.io/debian:12 docker.io/library/debian", passed},
		{"docker.io/library/debian:12", "index.docker.io", passed},
		{"docker.io/library/debian:12", "registry-1.docker.io/library", passed},
		{"registry-1.docker.io/library/debian:12", "docker.io", passed},
		{"docker.io/exampleos/os:1", "exampleos/os", passed},
		{"xn--bcher-kva.example/os:1", "bücher.example", passed},
		{"xn--bcher-kva.example/os:1", "Bücher.example/os *.example", passed},
		{"[::1]/os:1", "[::1]:443", passed},
	} {
		rules := map[string]bool{}
		for r := range strings.FieldsSeq(c.rules) {
			rules[r] = true
		}
		scope, found, err := policyjson.Lookup(rules, scopesOf(c.image))
		switch {
		case c.want == passed:
			var wrong *policyjson.SpellingError
			if !errors.As(err, &wrong) || !errors.Is(err, policyjson.ErrSpelling) || !rules[wrong.Rule] {
				t.Errorf("%s, rules for %s: got %q, %v; want an error", c.image, c.rules, scope, err)
			}
		case err != nil || scope != c.want || found != (c.want != ""):
			t.Errorf("%s, rules for %s: got %q, %v, %v; want %q", c.image, c.rules, scope, found, err, c.want)
		}
	}
}

func TestTheErrorAboutASpellingSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	_, _, err := policyjson.Lookup(map[string]bool{"quay.io/os": true}, scopesOf("QUAY.IO:443/os:1"))
	for _, want := range []string{`"quay.io/os"`, `"QUAY.IO:443/os"`, `write both as "quay.io/os"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, without %s", err, want)
		}
	}
}

func TestTheRuleOfATransportAndTheDefault(t *testing.T) {
	t.Parallel()
	p, err := policyjson.Parse([]byte(`{"default": [{"type": "reject"}], "transports": {
		"docker": {"quay.io": [{"type": "reject"}], "": [{"type": "reject"}, {"type": "reject"}]},
		"dir": {"/a": [{"type": "reject"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		transport, image, scope string
		named                   bool
		requirements            int
	}{
		{"docker", "quay.io/os:1", "quay.io", true, 1}, {"docker", "a.example/os:1", "", true, 2},
		{"dir", "/a/b", "/a", true, 1}, {"dir", "/b", "", false, 1}, {"oci", "/a", "", false, 1},
	} {
		scope, list, named, err := p.Rule(c.transport, scopesOf(c.image))
		if err != nil || scope != c.scope || named != c.named || len(list) != c.requirements {
			t.Errorf("%s:%s: got %q, %v, %v, %v", c.transport, c.image, scope, list, named, err)
		}
	}
	for _, name := range []string{"Docker", "DOCKER", "docker://"} {
		p.Transports[name] = p.Transports["docker"]
		if _, _, _, err := p.Rule("docker", scopesOf("quay.io/os:1")); !errors.Is(err, policyjson.ErrSpelling) {
			t.Errorf("with rules for the transport %q: %v", name, err)
		}
		delete(p.Transports, name)
	}
}
