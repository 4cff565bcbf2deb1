package testhome_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

func TestTheHomeIsNotThatOfTheUser(t *testing.T) {
	used := t.TempDir()
	for _, name := range []string{
		"HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "DOCKER_CONFIG",
		"REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF_OVERRIDE", "OSTREE_REPO",
		"SOURCE_DATE_EPOCH",
	} {
		t.Setenv(name, filepath.Join(used, name))
	}
	t.Setenv("GOPATH", "")
	t.Setenv("GOCACHE", "")
	t.Setenv("GOENV", "")
	var home string
	status := testhome.Tests{M: testhome.Func(func() int {
		home = os.Getenv("HOME")
		for _, v := range os.Environ() {
			name, value, _ := strings.Cut(v, "=")
			if strings.HasPrefix(value, used) && name != "GOCACHE" && name != "GOENV" && name != "GOPATH" {
				t.Errorf("%s is that of the user", v)
			}
		}
		if got, want := os.Getenv("GOCACHE"), filepath.Join(used, "XDG_CACHE_HOME", "go-build"); got != want {
			t.Errorf("the go command's cache moved from %s to %s", want, got)
		}
		if data, err := os.ReadFile(os.Getenv("REGISTRY_AUTH_FILE")); err != nil || string(data) != "{}\n" {
			t.Errorf("credentials: %q, %v", data, err)
		}
		return 7
	})}.Run()
	if status != 7 {
		t.Errorf("the status is %d, the tests' is 7", status)
	}
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the home is still there: %v", err)
	}
}
