package keyfile_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testfiles"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

const sample = `# made by hand
[core]
repo_version=1
mode = bare-user
  fsync=false

[remote "origin"]
url=https://example.com/repo;v=1
branches=a;b\;c;
note=\stwo\twords\\
gpg-verify=true
`

func parse(t testing.TB, s string) *keyfile.File {
	t.Helper()
	f, err := keyfile.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestValuesAreReadAsGLibReadsThem(t *testing.T) {
	f := parse(t, sample)
	const remote = `remote "origin"`
	for _, c := range []struct{ group, key, want string }{
		{"core", "repo_version", "1"},
		{"core", "mode", "bare-user"},
		{"core", "fsync", "false"},
		{remote, "url", "https://example.com/repo;v=1"},
		{remote, "note", " two\twords\\"},
	} {
		if got, ok := f.Get(c.group, c.key); !ok || got != c.want {
			t.Errorf("%s.%s = %q, want %q", c.group, c.key, got, c.want)
		}
	}
	if got, _ := f.List(remote, "branches"); !slices.Equal(got, []string{"a", "b;c"}) {
		t.Errorf("branches are %q", got)
	}
	if v, ok, err := f.Bool(remote, "gpg-verify"); !v || !ok || err != nil {
		t.Errorf("gpg-verify: %v %v %v", v, ok, err)
	}
	if _, ok := f.Get("core", "nosuch"); ok {
		t.Error("a key that is absent is there")
	}
	if got := f.Groups(); !slices.Equal(got, []string{"core", remote}) {
		t.Errorf("groups are %q", got)
	}
	if got := f.Keys("core"); !slices.Equal(got, []string{"repo_version", "mode", "fsync"}) {
		t.Errorf("keys are %q", got)
	}
}

func TestLinesMayEndAsInDOS(t *testing.T) {
	const text = "[core]\r\nmode=bare\r\nfsync=true\r\n"
	f := parse(t, text)
	if got, _ := f.Get("core", "mode"); got != "bare" {
		t.Errorf("mode is %q", got)
	}
	if got := string(f.Encode()); got != text {
		t.Errorf("written again as %q", got)
	}
}

func TestAChangeTouchesNothingElse(t *testing.T) {
	f := parse(t, "# note\n[core]\nmode=bare\n\n[other]\n# why\nx = 1\n")
	for _, c := range [][3]string{{"core", "mode", "archive"}, {"core", "fsync", "false"}, {"new", "k", " lead"}} {
		if err := f.Set(c[0], c[1], c[2]); err != nil {
			t.Fatal(err)
		}
	}
	f.Remove("other", "nosuch")
	want := "# note\n[core]\nmode=archive\nfsync=false\n\n[other]\n# why\nx = 1\n\n[new]\nk=\\slead\n"
	if got := string(f.Encode()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, _ := parse(t, want).Get("new", "k"); got != " lead" {
		t.Errorf("the new value reads as %q", got)
	}
}

func TestTextThatIsNoKeyFile(t *testing.T) {
	for _, s := range []string{"key=1\n", "[group\n", "[]\n", "[a]\nnot a key\n", "[a]\n=1\n", "\xff", "[a]\nb=\x00\n",
		"[a]]\n"} {
		if _, err := keyfile.Parse([]byte(s)); !errors.Is(err, keyfile.ErrSyntax) {
			t.Errorf("%q: %v, want ErrSyntax", s, err)
		}
	}
}

func TestWhatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	var f keyfile.File
	for _, c := range [][3]string{{"", "k", "v"}, {"a]", "k", "v"}, {"a", "", "v"}, {"a", "k=", "v"}, {"a", "k\n", "v"},
		{"a", "k", "\x00"}} {
		if err := f.Set(c[0], c[1], c[2]); !errors.Is(err, keyfile.ErrSyntax) {
			t.Errorf("Set(%q): %v, want ErrSyntax", c, err)
		}
	}
}

// FuzzParse checks that a parsed file is written again as it was, and that a value that is set is read back.
func FuzzParse(f *testing.F) {
	f.Add(sample, "value")
	for _, seed := range testfiles.Read(f, "../testdata/config/*") {
		f.Add(string(seed.Data), "archive-z2")
	}
	f.Add("[core]\nrepo_version=1\nmode=bare-split-xattrs\n", " x\\n;\n\t")
	f.Fuzz(func(t *testing.T, s, value string) {
		k, err := keyfile.Parse([]byte(s))
		if err != nil {
			return
		}
		if got := string(k.Encode()); got != s && got != s+"\n" {
			t.Errorf("%q is written again as %q", s, got)
		}
		if k.Set("core", "mode", value) != nil {
			return
		}
		again, err := keyfile.Parse(k.Encode())
		if err != nil {
			t.Fatalf("after a change: %v", err)
		}
		if got, ok := again.Get("core", "mode"); !ok || got != value {
			t.Errorf("%q is read back as %q", value, got)
		}
	})
}
