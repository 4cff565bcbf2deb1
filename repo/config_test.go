package repo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const minimalConfig = "[core]\nrepo_version=1\nmode=archive-z2\n"

func TestConfigValues(t *testing.T) {
	t.Parallel()
	defaults := Config{
		Mode: ModeArchive, Fsync: true, Locking: true, LockTimeout: 5 * time.Minute, MinFreeSpacePercent: 3,
		TmpExpiry: 24 * time.Hour, ZlibLevel: 6,
	}
	tests := []struct {
		text string
		want func(*Config)
	}{
		{"", func(*Config) {}},
		{"fsync=false", func(c *Config) { c.Fsync = false }},
		{"per-object-fsync=true", func(c *Config) { c.PerObjectFsync = true }},
		{"disable-xattrs=1", func(c *Config) { c.DisableXattrs = true }},
		{"locking=false", func(c *Config) { c.Locking = false }},
		{"lock-timeout-secs=-1", func(c *Config) { c.LockTimeout = -time.Second }},
		{"lock-timeout-secs=0", func(c *Config) { c.LockTimeout = 0 }},
		{"min-free-space-percent=0", func(c *Config) { c.MinFreeSpacePercent = 0 }},
		{"min-free-space-percent=99", func(c *Config) { c.MinFreeSpacePercent = 99 }},
		{"min-free-space-size=500MB", func(c *Config) { c.MinFreeSpacePercent, c.MinFreeSpaceSize = 0, 500<<20 }},
		{"min-free-space-size=2GB", func(c *Config) { c.MinFreeSpacePercent, c.MinFreeSpaceSize = 0, 2<<30 }},
		{"min-free-space-size=1TB", func(c *Config) { c.MinFreeSpacePercent, c.MinFreeSpaceSize = 0, 1<<40 }},
		{"tmp-expiry-secs=60", func(c *Config) { c.TmpExpiry = time.Minute }},
		{"parent=/srv/repo", func(c *Config) { c.Parent = "/srv/repo" }},
		{"collection-id=org.example.Os", func(c *Config) { c.CollectionID = "org.example.Os" }},
		{"tombstone-commits=true", func(c *Config) { c.TombstoneCommits = true }},
		{"[archive]\nzlib-level=9", func(c *Config) { c.ZlibLevel = 9 }},
		{"unknown=x\n[other]\nkey=y", func(*Config) {}},
	}
	for _, test := range tests {
		want := defaults
		test.want(&want)
		got, err := parseConfig([]byte(minimalConfig + test.text + "\n"))
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if diff := cmp.Diff(want, *got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
			t.Errorf("%q: differs (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no version":        "[core]\nmode=bare\n",
		"other version":     "[core]\nrepo_version=2\nmode=bare\n",
		"unknown mode":      "[core]\nrepo_version=1\nmode=tape\n",
		"old archive":       "[core]\nrepo_version=1\narchive=true\n",
		"boolean":           minimalConfig + "fsync=maybe\n",
		"percent too large": minimalConfig + "min-free-space-percent=100\n",
		"negative percent":  minimalConfig + "min-free-space-percent=-1\n",
		"percent sign":      minimalConfig + "min-free-space-percent=3%\n",
		"size without unit": minimalConfig + "min-free-space-size=500\n",
		"size with sign":    minimalConfig + "min-free-space-size=+5MB\n",
		"size too large":    minimalConfig + "min-free-space-size=99999999999TB\n",
		"timeout":           minimalConfig + "lock-timeout-secs=soon\n",
		"timeout too large": minimalConfig + "lock-timeout-secs=9223372036854775807\n",
		"expiry":            minimalConfig + "tmp-expiry-secs=-1\n",
		"level":             minimalConfig + "[archive]\nzlib-level=10\n",
		"no group":          "repo_version=1\n",
	}
	for name, text := range tests {
		if c, err := parseConfig([]byte(text)); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: got %v, %v, want ErrInvalidConfig", name, c, err)
		}
	}
}

// The files of testdata/config were written by ostree 2026.4 with "init", "remote add" and "config set".
func realConfigs(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/config/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	configs := map[string][]byte{}
	for _, name := range files {
		if configs[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return configs
}

func TestInitWritesWhatLibostreeWrites(t *testing.T) {
	t.Parallel()
	configs := realConfigs(t)
	for _, mode := range []Mode{ModeArchive, ModeBare, ModeBareUser, ModeBareUserOnly} {
		path := filepath.Join(t.TempDir(), "repo")
		for range 2 { // an existing repository is opened
			r, err := Init(path, mode)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(filepath.Join(path,
			"config")); string(got) != string(configs[mode.String()]) || err != nil {
			t.Errorf("%s: got %q, %v", mode, got, err)
		}
	}
}

func TestWhatLibostreeWritesIsRead(t *testing.T) {
	t.Parallel()
	for name, data := range realConfigs(t) {
		c, err := parseConfig(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if mode, err := ParseMode(name); err == nil && c.Mode != mode {
			t.Errorf("%s: got mode %s", name, c.Mode)
		}
		if name == "settings" && (c.Mode != ModeBare || c.Fsync || !c.PerObjectFsync || c.MinFreeSpaceSize != 500<<20 ||
			len(c.Keys(`remote "mirror"`)) != 6) {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}

func TestSetConfigKeepsTheRest(t *testing.T) {
	t.Parallel()
	r := initRepo(t, ModeArchive)
	file := filepath.Join(r.Path(), "config")
	text := "# of old\n[core]\nrepo_version=1\nmode=archive-z2\n\n[remote \"x\"]\nurl=http://example.com\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.SetConfig("archive", "zlib-level", "1"); err != nil {
		t.Fatal(err)
	}
	if r.Config().ZlibLevel != 1 {
		t.Errorf("got level %d, want 1", r.Config().ZlibLevel)
	}
	if url, _ := r.Config().Get(`remote "x"`, "url"); url != "http://example.com" {
		t.Errorf("got url %q", url)
	}
	got, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(got), "# of old\n[core]\n") {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range [][3]string{{"core", "fsync", "perhaps"}, {"core", "mode", "bare"}} {
		if err := r.SetConfig(bad[0], bad[1], bad[2]); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%v: got %v, want ErrInvalidConfig", bad, err)
		}
	}
	if after, err := os.ReadFile(file); string(after) != string(got) || err != nil {
		t.Errorf("an error changed the file to %q, %v", after, err)
	}
}

func initRepo(t testing.TB, mode Mode) *Repo {
	t.Helper()
	r, err := Init(filepath.Join(t.TempDir(), "repo"), mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func FuzzParseConfig(f *testing.F) {
	for _, data := range realConfigs(f) {
		f.Add(data)
	}
	f.Add([]byte(minimalConfig + "min-free-space-size=500MB\nlock-timeout-secs=-1\n[remote \"x\"]\nurl=y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		if !c.Mode.valid() || c.ZlibLevel < 0 || c.ZlibLevel > 9 || c.MinFreeSpacePercent < 0 || c.MinFreeSpaceSize < 0 {
			t.Errorf("got %+v", c)
		}
	})
}
