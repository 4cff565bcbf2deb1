package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/overlay"
)

type (
	entry = overlay.Entry[string]
	file  = overlay.File[string]
	tree  = overlay.Tree[string]
)

// parse parses an entry: "d/" is a directory, "d/ 700" a directory with a mode, "f=x" a file, "s>t" a symlink to t,
// "h&f" a hard link to f, "!a" a whiteout of a, "!d/*" an opaque mark of d.
func parse(s string) entry {
	if name, ok := strings.CutPrefix(s, "!"); ok {
		if dir, ok := strings.CutSuffix(name, "*"); ok {
			return entry{Mark: overlay.Opaque, Path: path.Clean("/" + dir)}
		}
		return entry{Mark: overlay.Whiteout, Path: "/" + name}
	}
	i := strings.IndexAny(s, "=>&")
	if i < 0 {
		name, mode, _ := strings.Cut(s, " ")
		f := &file{FileHeader: object.FileHeader{Mode: object.ModeDir | 0o755}}
		if mode != "" {
			if _, err := fmt.Sscanf(mode, "%o", &f.Mode); err != nil {
				panic(err)
			}
			f.Mode |= object.ModeDir
		}
		return entry{Path: path.Clean("/" + name), File: f}
	}
	e, value := entry{Path: "/" + s[:i]}, s[i+1:]
	switch s[i] {
	case '=':
		e.File = &file{FileHeader: object.FileHeader{Mode: object.ModeRegular | 0o644}, Content: value}
	case '>':
		e.File = &file{FileHeader: object.FileHeader{Mode: object.ModeSymlink | 0o777, Target: value}}
	case '&':
		e.Link = "/" + value
	}
	return e
}

// layer parses entries separated by spaces. A comma in an entry stands for a space.
func layer(s string) (list []entry) {
	for word := range strings.FieldsSeq(s) {
		list = append(list, parse(strings.ReplaceAll(word, ",", " ")))
	}
	return list
}

func apply(ctx context.Context, layers []string) (*tree, error) {
	t, err := overlay.New[string](nil, nil)
	for _, l := range layers {
		if err == nil {
			err = t.Apply(ctx, layer(l))
		}
	}
	return t, err
}

// show formats a tree as [layer] parses one, without the root. Hard links are links to the first name.
func show(t *testing.T, tree *tree) string {
	t.Helper()
	var words []string
	seen := map[*file]string{}
	err := tree.Walk(func(dir, name string, f *file) error {
		if name == "" {
			return nil
		}
		p := strings.TrimPrefix(path.Join(dir, name), "/")
		first, again := seen[f]
		seen[f] = p
		switch {
		case again:
			seen[f] = first
			p += "&" + first
		case f.IsSymlink():
			p += ">" + f.Target
		case !f.IsDir():
			p += "=" + f.Content
		default:
			p += "/"
			if f.Mode != object.ModeDir|0o755 {
				p += fmt.Sprintf(",%o", f.Mode&0o7777)
			}
		}
		words = append(words, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(words, " ")
}

func TestLayersAreAppliedInTheOrderOfTheirEntries(t *testing.T) {
	for name, test := range map[string]struct {
		layers []string
		want   string
	}{
		"missing directories are made":                   {[]string{"a/b/c=1"}, "a/ a/b/ a/b/c=1"},
		"the last of two entries counts":                 {[]string{"a=1 a=2"}, "a=2"},
		"a directory keeps what is in it":                {[]string{"d/ d/a=1", "d/,700"}, "d/,700 d/a=1"},
		"a file replaces a directory":                    {[]string{"d/ d/a=1", "d=2"}, "d=2"},
		"a file replaces a directory of its layer":       {[]string{"d/a=1 d=2"}, "d=2"},
		"a directory replaces a file":                    {[]string{"f=1", "f/ f/a=2"}, "f/ f/a=2"},
		"a directory replaces a symlink, not its target": {[]string{"t/ t/a=1 l>t", "l/ l/b=2"}, "l/ l/b=2 t/ t/a=1"},
		"a symlink replaces a directory":                 {[]string{"t/ l/a=1", "l>t l/b=2"}, "l>t t/ t/b=2"},
		"files go where a symlink leads":                 {[]string{"t/ l>t", "l/a=1"}, "l>t t/ t/a=1"},
		"symlinks lead no higher than the root":          {[]string{"t/ l>../../t", "l/a=1"}, "l>../../t t/ t/a=1"},
		"a symlink to nothing leads to a new directory":  {[]string{"l>/x/y", "l/a=1"}, "l>/x/y x/ x/y/ x/y/a=1"},
		"what is missing before two dots is not made":    {[]string{"t/ l>x/../t", "l/a=1"}, "l>x/../t t/ t/a=1"},
		"a file before two dots is not an obstacle": {[]string{"t/ f=1 l>f/../t", "l/a=1"},
			"f=1 l>f/../t t/ t/a=1"},
		"a link through a symlinked directory": {[]string{"t/a=1 l>t", "b&l/a", "m/ k>m k/c&l/a"},
			"b=1 k>m l>t m/ m/c&b t/ t/a&b"},
		"a link to a symlink is that symlink":            {[]string{"a=1 s>a", "h&s"}, "a=1 h>a s&h"},
		"a link keeps what its target was":               {[]string{"a=1 b&a", "a=2"}, "a=2 b=1"},
		"a link to what is replaced after it":            {[]string{"a=1", "b&a a=2"}, "a=2 b=1"},
		"a link to what is replaced before it":           {[]string{"a=1", "a=2 b&a"}, "a=2 b&a"},
		"a link to what is hidden after it":              {[]string{"a=1", "b&a !a"}, "b=1"},
		"a link to what an opaque mark hides after it":   {[]string{"d/a=1", "d/b&d/a !d/*"}, "d/ d/b=1"},
		"a link to what goes with its directory":         {[]string{"d/a=1", "b&d/a d=2"}, "b=1 d=2"},
		"a whiteout hides a file":                        {[]string{"d/a=1 d/b=2", "!d/a"}, "d/ d/b=2"},
		"a whiteout hides a directory with all in it":    {[]string{"d/e/a=1 f=2", "!d"}, "f=2"},
		"a whiteout hides a symlink, not its target":     {[]string{"t=1 l>t", "!l"}, "t=1"},
		"a whiteout of nothing":                          {[]string{"f=1", "!a !f/a !x/y !x/*"}, "f=1"},
		"a whiteout before what its layer brings":        {[]string{"a=1", "!a a=2"}, "a=2"},
		"a whiteout after what its layer brings":         {[]string{"a=1", "a=2 !a"}, "a=2"},
		"a whiteout of a directory before a file in it":  {[]string{"d/,700 d/a=1", "!d d/b=2"}, "d/ d/b=2"},
		"a whiteout of a directory after a file in it":   {[]string{"d/,700 d/a=1 d/e/a=1", "d/b=2 !d"}, "d/,700 d/b=2"},
		"a whiteout of a directory that comes anew":      {[]string{"d/ d/a=1", "d/,700 !d"}, "d/,700"},
		"a whiteout of a directory with a replaced file": {[]string{"d/a=1 d/b=1", "d/a=2 !d"}, "d/ d/a=2"},
		"a whiteout hides nothing of a link":             {[]string{"a=1 b=2", "b&a !b"}, "a=1 b&a"},
		"a whiteout counts for older layers alone":       {[]string{"a=1", "!a", "a=3"}, "a=3"},
		"an opaque mark before entries":                  {[]string{"d/a=1 d/e/b=1", "!d/* d/c=2"}, "d/ d/c=2"},
		"an opaque mark after entries":                   {[]string{"d/a=1 d/e/b=1", "d/c=2 d/e/ !d/*"}, "d/ d/c=2 d/e/"},
		"an opaque mark between entries":                 {[]string{"d/a=1 d/b=1", "d/c=2 !d/* d/e=2"}, "d/ d/c=2 d/e=2"},
		"an opaque mark keeps the directory":             {[]string{"d/,700 d/a=1", "!d/*"}, "d/,700"},
		"an opaque root":                                 {[]string{"a=1 d/b=1", "c=2 !/*"}, "c=2"},
		"an opaque mark through a symlink":               {[]string{"t/a=1 l>t", "!l/*"}, "l>t t/"},
		"a whiteout through a symlink":                   {[]string{"t/a=1 l>t", "!l/a"}, "l>t t/"},
		"a whiteout in a directory instead of a symlink": {[]string{"t/a=1 l>t", "l/ !l/a"}, "l/ t/ t/a=1"},
		"the same with the whiteout first":               {[]string{"t/a=1 l>t", "!l/a l/"}, "l/ t/ t/a=1"},
		"the same with a whiteout of the symlink, too":   {[]string{"t/a=1 l>t", "!l/a !l l/b=2"}, "l/ l/b=2 t/ t/a=1"},
		"an opaque mark in such a directory":             {[]string{"t/a=1 l>t", "!l/* l/ l/b=2"}, "l/ l/b=2 t/ t/a=1"},
		"a whiteout through a link to a replaced one": {[]string{"t/a=1 l>t k>l", "!k/a l/ l/a=2"},
			"k>l l/ l/a=2 t/ t/a=1"},
		"a whiteout through a symlink that leads anew": {[]string{"t/a=1 u/a=1 l>t", "!l/a l>u"}, "l>u t/ t/a=1 u/"},
		"a loop that nothing goes through":             {[]string{"a>a b>c c>b", "d=1"}, "a>a b>c c>b d=1"},
		"a loop that is replaced":                      {[]string{"a>a", "a/ !a/x a/f=1"}, "a/ a/f=1"},
		"a loop that is replaced later":                {[]string{"a>a", "!a/x a/ a/f=1"}, "a/ a/f=1"},
		"a loop that is hidden":                        {[]string{"a>b b>a", "!a a/f=1"}, "a/ a/f=1 b>a"},
		"a loop that a symlink led to": {[]string{"l>a a>a", "!l/x a/ a/f=1 l/g=1"},
			"a/ a/f=1 a/g=1 l>a"},
		"the root is described and keeps what is in it":    {[]string{"a=1", "/,700"}, "a=1"},
		"what was made for a file stays when it is a file": {[]string{"d/e/f=1", "!d/e/f"}, "d/ d/e/"},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := apply(t.Context(), test.layers)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(t, tree); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestLayersThatCannotBeAppliedAreErrors(t *testing.T) {
	deep := strings.Repeat("d/", object.MaxTreeDepth)
	chain := "l0>t "
	for i := range 255 {
		chain += fmt.Sprintf("l%d>l%d ", i+1, i)
	}
	long := strings.Repeat("./", 2000)
	for name, layers := range map[string][]string{
		"a file below a file":                      {"f=1 f/a=1"},
		"a file below a symlink to a file":         {"f=1 l>f l/a=1"},
		"a file through a loop":                    {"a>b b>a a/f=1"},
		"a whiteout through a loop":                {"a>a", "!a/f"},
		"an opaque mark through a loop":            {"a>a", "!a/*"},
		"a link through a loop":                    {"a>a b&a/c"},
		"a link to nothing":                        {"a&b"},
		"a link to itself":                         {"a=1", "a&a"},
		"a link to what is in its place":           {"d/a=1", "d&d/a"},
		"a link to a directory":                    {"d/ a&d"},
		"a link to the root":                       {"a=1 b&"},
		"a link to a later file":                   {"a&b b=1"},
		"a link to what was hidden before it":      {"a=1", "!a b&a"},
		"a link to what the opaque mark hid":       {"d/a=1", "!d/* b&d/a"},
		"a link to what a directory replaced":      {"a=1", "a/ b&a"},
		"a link below what its path no longer has": {"t/a=1 l>t", "l/ b&l/a"},
		"a root that is a file":                    {"=1"},
		"a root that is a link":                    {"a=1 &a"},
		"too many directories":                     {deep + "f=1"},
		"too many directories through symlinks":    {"s>" + deep[:2000] + " s/" + deep[:2200] + "f=1"},
		"too many symlinks":                        {"t/ " + chain + " l255/a=1"},
		"too many names in the targets": {"a>" + long + "b b>" + long + "c c>" + long + "d d>" + long + "e e>" +
			long + " a/x=1"},
	} {
		t.Run(name, func(t *testing.T) {
			if tree, err := apply(t.Context(), layers); !errors.Is(err, tarfmt.ErrInvalidStream) {
				t.Errorf("got %v, %.300s", err, show(t, tree))
			}
		})
	}
}

func TestAPathMayLeadThroughManySymlinks(t *testing.T) {
	l := "t/ l0>t "
	for i := range 254 {
		l += fmt.Sprintf("l%d>l%d ", i+1, i)
	}
	tree, err := apply(t.Context(), []string{l + "l254/a=1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(t, tree); !strings.HasSuffix(got, " t/ t/a=1") {
		t.Errorf("got %s", got)
	}
}

// base returns the files of a layer as the base of a tree.
func base(l string) iter.Seq2[string, *file] {
	return func(yield func(string, *file) bool) {
		files := map[string]*file{}
		for _, e := range layer(l) {
			if e.Link != "" {
				e.File = files[e.Link]
			}
			files[e.Path] = e.File
			if !yield(e.Path, e.File) {
				return
			}
		}
	}
}

func TestATreeCanBeginWithFiles(t *testing.T) {
	tree, err := overlay.New(base("/,700 a=1 b&a d/,700 d/e/ d/e/f=2 l>d"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, tree), "a=1 b&a d/,700 d/e/ d/e/f=2 l>d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := tree.Apply(t.Context(), layer("!a c&b l/g=3 !d/e")); err != nil {
		t.Fatal(err)
	}
	if got, want := show(t, tree), "b=1 c&b d/,700 d/g=3 l>d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, l := range map[string]string{
		"a file before its directory": "d/a=1 d/",
		"a file below a symlink":      "d/ l>d l/a=1",
		"a file below a file":         "f=1 f/a=1",
		"a root that is a file":       "=1",
	} {
		if _, err := overlay.New(base(l), nil); !errors.Is(err, tarfmt.ErrInvalidStream) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMarksOfStorageDriversMeanNothing(t *testing.T) {
	tree, err := apply(t.Context(), []string{"a=1"})
	if err == nil {
		marks := []entry{{Mark: overlay.Reserved, Path: "/.wh..wh.aufs"}, {Mark: overlay.Reserved, Path: "/a"}}
		err = tree.Apply(t.Context(), marks)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := show(t, tree); got != "a=1" {
		t.Errorf("got %s", got)
	}
}

func TestMemoryIsAskedForBeforeItIsTaken(t *testing.T) {
	full, sum := errors.New("full"), 0
	tree, err := overlay.New[string](nil, func(n int) error {
		if sum += n; sum > 10 {
			return full
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Apply(t.Context(), layer("dir/ dir/name/f=1 other=1")); err != nil || sum != len("name") {
		t.Errorf("%v, and %d bytes are taken", err, sum)
	}
	if err := tree.Apply(t.Context(), layer("directory/f=1")); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

func TestApplyingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := apply(ctx, []string{"a=1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAWalkIsInOrderAndLeavesOutWhatItIsTold(t *testing.T) {
	tree, err := apply(t.Context(), []string{"b/x=1 a/y=1 a/b/z=1 c=1"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = tree.Walk(func(dir, name string, _ *file) error {
		got = append(got, dir+" "+name)
		if name == "a" {
			return fs.SkipDir
		}
		return nil
	})
	if diff := cmp.Diff([]string{"/ ", "/ a", "/ b", "/b x", "/ c"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	stop := errors.New("stop")
	if err := tree.Walk(func(string, string, *file) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// TestManyMarksOfALargeDirectoryAreCheap would run for hours if each mark visited all files.
func TestManyMarksOfALargeDirectoryAreCheap(t *testing.T) {
	var l []entry
	for i := range 100_000 {
		l = append(l, entry{Path: fmt.Sprintf("/d/%d", i),
			File: &file{FileHeader: object.FileHeader{Mode: object.ModeRegular}}})
		l = append(l, entry{Mark: overlay.Opaque, Path: "/d"}, entry{Mark: overlay.Whiteout, Path: "/d"})
	}
	tree, err := apply(t.Context(), []string{"d/a=1"})
	if err == nil {
		err = tree.Apply(t.Context(), l)
	}
	if err != nil {
		t.Fatal(err)
	}
}
