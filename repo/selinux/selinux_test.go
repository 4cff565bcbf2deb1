package selinux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
	"github.com/ostree-ext/ostree-ext-go/repo/selinux"
)

// files is a tree of files with their content.
type files map[string]string

func (f files) Entries() *rootfs.List {
	directory := rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeDir | 0o755}}
	all := map[string]rootfs.Entry{"/": directory}
	for name, content := range f {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			all[dir] = directory
		}
		all[name] = rootfs.Entry{FileHeader: &object.FileHeader{Mode: object.ModeRegular | 0o644}, Size: int64(len(content))}
	}
	b := rootfs.NewBuilder(len(all))
	for name, e := range all {
		e.Dir, e.Name = rootfs.Split(name)
		if err := b.Add(e); err != nil {
			panic(err)
		}
	}
	list, _ := b.List(nil)
	return list
}

func (f files) Open(_ context.Context, i int) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte(f[f.Entries().At(i).Path()]))), nil
}

const config = "# a comment\nSELINUX=enforcing\nSELINUXTYPE=targeted \n"

const contexts = "/etc/selinux/targeted/contexts/files/file_contexts"

func load(t testing.TB, f files) (*selinux.Policy, error) {
	t.Helper()
	return selinux.Load(t.Context(), rootfs.NewIndex(f))
}

func policy(t testing.TB, f files) *selinux.Policy {
	t.Helper()
	f["/etc/selinux/config"] = config
	p, err := load(t, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// These are the types of files, as find(1) names them.
const (
	regular = 0o100644
	dir     = 0o040755
	symlink = 0o120777
	char    = 0o020600
)

// label is a path and mode with the expected label.
type label struct {
	path string
	mode uint32
	want string
}

func check(t *testing.T, p *selinux.Policy, labels []label) {
	t.Helper()
	for _, l := range labels {
		if got, err := p.Label(l.path, l.mode); err != nil || got != l.want {
			t.Errorf("%s (%o): got %q, %v, want %q", l.path, l.mode, got, err, l.want)
		}
	}
}

func TestTheLastLineThatMatchesSaysTheLabelButPlainPathsGoFirst(t *testing.T) {
	check(t, policy(t, files{contexts: `
# comment
/.*                      default
/usr/bin/sudo        --  sudo
/usr(/.*)?               usr
/usr/bin/.*          --  bin
/usr/bin/su.*            su
/usr/bin/.*          -d  bindir
/usr/lib/lib\.so         lib
/usr/lib/.*              anylib
/usr/share/x             earlier
/usr/share/x             later
/tmp/.*                  <<none>>
  /dev/null   -c   null   a fourth field
`}), []label{
		{"/", dir, "default"}, {"/usr", dir, "usr"}, {"/usrx", dir, "default"},
		{"/usr/bin/sudo", regular, "sudo"}, {"/usr/bin/sudo", symlink, "su"}, {"/usr/bin/sudo", dir, "bindir"},
		{"/usr/bin/ls", regular, "bin"}, {"/usr/bin/ls", symlink, "usr"}, {"/usr/bin/sum", regular, "su"},
		{"/usr/lib/lib.so", regular, "lib"}, {"/usr/lib/libxso", regular, "anylib"},
		{"/usr/share/x", regular, "later"},
		{"/tmp", dir, "default"}, {"/tmp/x", regular, ""},
		{"/dev/null", char, "null"}, {"/dev/null", regular, "default"}, {"/dev/null", 0, "null"},
	})
}

func TestLaterFilesGoBeforeEarlierOnes(t *testing.T) {
	check(t, policy(t, files{
		contexts:               "/home/.* base\n/home/exact base\n/x/.* base\n",
		contexts + ".homedirs": "/home/[^/]+ home\n/home/exact home\n",
		contexts + ".local":    "/home/me local\n/x/y local\n",
	}), []label{
		{"/home/you", dir, "home"}, {"/home/exact", dir, "home"}, {"/home/me", dir, "local"}, {"/home/me/x", dir, "base"},
		{"/x/y", dir, "local"}, {"/x/z", dir, "base"},
	})
}

func TestSubstitutionsReplaceTheBeginningOfPaths(t *testing.T) {
	check(t, policy(t, files{
		contexts: "/usr/lib/.* lib\n/usr/lib lib-itself\n/run/.* run\n" +
			"/ root\n/bin bin\n/mnt mnt\n/proc proc\n",
		contexts + ".subs_dist": "# none\n/lib64 /usr/lib\n/lib /usr/lib64\n/lib /usr/lib\n/var/run   /run\nbroken\n",
		contexts + ".subs":      "/sysroot /\n/exports/run /var/run # and more\n",
	}), []label{
		{"/lib64/x", regular, "lib"}, {"/lib64", dir, "lib-itself"}, {"/lib640", dir, ""}, {"/lib/x", regular, "lib"},
		{"/exports/run/x", regular, "run"}, {"/sysroot", dir, "root"}, {"/sysroot/bin", dir, "bin"}, {"/proc", dir, "mnt"},
		{"/proc/x", dir, ""},
	})
}

func TestPatternsMeanWhatTheyMeanToPCRE(t *testing.T) {
	for _, tc := range []struct {
		pattern  string
		yes, not []string
	}{
		{`/a|/b`, []string{"/a", "/ax", "/b", "/xx/b"}, []string{"/c", "x/bx"}},
		{`/x/(a|b)c?`, []string{"/x/a", "/x/bc"}, []string{"/x", "/x/ab", "/x/bcc"}},
		{`/x/.`, []string{"/x/\n", "/x/a", "/x/\xff"}, []string{"/x/", "/x/ab", "/x/ä"}},
		{`/x/[^/]{2}`, []string{"/x/ä", "/x/ab", "/x/\xc3b"}, []string{"/x/a"}},
		{`/x/a`, []string{"/x/a"}, []string{"/x/a\n"}},
		{`/x/[a]`, []string{"/x/a", "/x/a\n"}, []string{"/x/a\n\n"}},
		{`/x/a$`, []string{"/x/a", "/x/a\n"}, []string{"/x/ab"}},
		{`/x/\s[\s]\S`, []string{"/x/\v\va", "/x/  a"}, []string{"/x/\v\v\v"}},
		{`/x/\d+\-\_\.\w`, []string{"/x/12-_.a"}, []string{"/x/12-_xa"}},
		{`/x/[]a][^]b]`, []string{"/x/]c", "/x/aa"}, []string{"/x/]b", "/x/a]"}},
		{`/x/[[:digit:]\-]+`, []string{"/x/1-2"}, []string{"/x/a"}},
		{`/x/[a|(]y`, []string{"/x/|y", "/x/(y"}, []string{"/x/y"}},
		{`/x/ab*`, []string{"/x/a", "/x/ab", "/x/abb"}, []string{"/x/b"}},
		{`/x/a{0}b{,2}`, []string{"/x/b{,2}"}, []string{"/x/b", "/x/ab"}},
		{`/x\.y/.*`, []string{"/x.y/z"}, []string{"/x\\.y/z", "/xxy/z"}},
		{`/usr/?`, nil, []string{"/usr"}},
		{`/x/y/?`, []string{"/x/y"}, []string{"/x/yy"}},
		{`.*/x`, []string{"/x", "/y/x"}, []string{"/xy"}},
		{`/x(?:/y)`, []string{"/x/y"}, []string{"/x"}},
	} {
		t.Run(tc.pattern, func(t *testing.T) {
			p := policy(t, files{contexts: tc.pattern + " yes\n"})
			for _, name := range tc.yes {
				check(t, p, []label{{name, regular, "yes"}})
			}
			for _, name := range tc.not {
				check(t, p, []label{{name, regular, ""}})
			}
		})
	}
}

func TestATreeWithoutPolicyInForceHasNone(t *testing.T) {
	for name, f := range map[string]files{
		"no configuration": {"/etc/passwd": ""},
		"disabled":         {"/etc/selinux/config": "SELINUX=disabled\nSELINUXTYPE=targeted\n", contexts: "/ root\n"},
		"nothing said":     {"/etc/selinux/config": "", contexts: "/ root\n"},
		"in /usr/etc, but there is one in /etc": {"/etc/selinux/semanage.conf": "", "/usr/etc/selinux/config": config,
			"/usr" + contexts: "/ root\n"},
	} {
		if _, err := load(t, f); !errors.Is(err, selinux.ErrNoPolicy) {
			t.Errorf("%s: got %v, want ErrNoPolicy", name, err)
		}
	}
}

func TestThePolicyOfACommittedSystemIsFound(t *testing.T) {
	for _, c := range []string{config, "SELINUX=Permissive\n"} {
		p, err := load(t, files{"/usr/etc/selinux/config": c, "/usr" + contexts: "/ root\n"})
		if err != nil {
			t.Fatal(err)
		}
		if p.Name() != "targeted" {
			t.Errorf("name: got %q", p.Name())
		}
		check(t, p, []label{{"/", dir, "root"}})
	}
}

func TestAPolicyThatCannotBeUsedIsAnErrorThatNamesTheLine(t *testing.T) {
	long := strings.Repeat("a", 4096)
	for name, tc := range map[string]struct{ contexts, want string }{
		"no label":           {"/a b\n/b\n", `line 2: "/b" has no label`},
		"type":               {"/a -x c\n", `"-x" is not a file type`},
		"look ahead":         {"/a(?!b) c\n", "not supported: (?!"},
		"back reference":     {`/(a)\1 c`, `not supported: \1`},
		"possessive":         {`/a++ c`, "invalid nested repetition"},
		"letter":             {`/\pL c`, `not supported: \p`},
		"letter in a class":  {`/[\h] c`, `not supported: \h`},
		"verb":               {`/a(*FAIL) c`, "not supported: (*F"},
		"open":               {`/a( c`, "missing closing )"},
		"open class":         {`/a[b c`, "missing closing ]"},
		"backslash":          {`/a.\ c`, "a backslash at the end"},
		"not ASCII":          {"/ä c\n", "ASCII"},
		"NUL":                {"/a\x00 c\n", "ASCII"},
		"long pattern":       {"/" + long + " c\n", "more than 4095 characters"},
		"long label":         {"/ " + long + "\n", "more than 4095 characters"},
		"too many states":    {strings.Repeat("/"+strings.Repeat("([^a]{999})", 300)+"\tc\n", 10), "too complex"},
		"repeated too often": {"/(a{1000}){1000} c\n", "invalid repeat count"},
		"deep": {"/" + strings.Repeat("(", 1500) + strings.Repeat(")", 1500) + " c\n",
			"expression nests too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, files{"/etc/selinux/config": config, contexts: tc.contexts})
			if !errors.Is(err, selinux.ErrInvalidPolicy) || !strings.Contains(err.Error(), tc.want) ||
				!strings.Contains(err.Error(), contexts) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	for name, f := range map[string]files{
		"no file_contexts":    {"/etc/selinux/config": config},
		"outside of the tree": {"/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=../../etc\n"},
		"empty":               {"/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=\n"},
		"too many lines":      {"/etc/selinux/config": config, contexts: strings.Repeat("/ c\n", 100_001)},
	} {
		if _, err := load(t, f); !errors.Is(err, selinux.ErrInvalidPolicy) {
			t.Errorf("%s: got %v, want ErrInvalidPolicy", name, err)
		}
	}
	if _, err := load(t, files{"/etc/selinux/config": config,
		contexts: strings.Repeat("#", 17<<20)}); !errors.Is(err, repo.ErrTooLarge) {
		t.Errorf("too large: got %v", err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("/usr(/.*)?  -- system_u:object_r:usr_t:s0\n/[a-z].* <<none>>\n", "/lib /usr/lib\n", "/lib/x")
	f.Add("/x\\.y/[^/]*|b{1,3} c\n", "/ /x\n/x /\n", "/x\xff\n/")
	f.Add("^$ c\n(|a)? d\n", "#\n", "")
	f.Fuzz(func(t *testing.T, lines, subs, name string) {
		p, err := load(t, files{"/etc/selinux/config": config, contexts: lines, contexts + ".subs": subs,
			contexts + ".subs_dist": subs})
		if err != nil {
			return
		}
		for _, mode := range []uint32{0, regular, dir} {
			if _, err := p.Label(name, mode); err != nil {
				t.Fatal(err)
			}
		}
	})
}
