package rootfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// step resolves a path element by element, as a kernel does. The last element is not followed unless last is set.
func step(x *rootfs.Index, p string, last bool) (string, bool) {
	at, rest, links := "/", strings.Trim(p, "/"), 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		rest = strings.TrimLeft(rest, "/")
		if name == "" || name == "." {
			continue
		}
		next := path.Join(at, name)
		if rest == "" && !last {
			return next, true
		}
		i, ok := x.Find(next)
		switch {
		case !ok:
			return "", false
		case x.Entry(i).IsSymlink():
			if links++; links > 40 {
				return "", false
			}
			target := x.Entry(i).Target
			if strings.HasPrefix(target, "/") {
				at = "/"
			}
			rest = strings.Trim(target+"/"+rest, "/")
			continue
		case rest != "" && !x.Entry(i).IsDir():
			return "", false
		}
		at = next
	}
	return at, true
}

func TestPathsLeadWhereAStepForEachElementLeads(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "a-b", "a.b", "..x", ".h", "..", ".", "", "c"}
	anyPath := func(n int) string {
		var elements []string
		for range 1 + r.IntN(n) {
			elements = append(elements, names[r.IntN(len(names))])
		}
		return strings.Join(elements, "/")
	}
	existing := 0
	for range 300 {
		dir, dirs := t.TempDir(), []string{"."}
		for range 12 {
			p := filepath.Join(dirs[r.IntN(len(dirs))], names[r.IntN(6)])
			switch r.IntN(3) {
			case 0:
				if os.Mkdir(filepath.Join(dir, p), 0o755) == nil {
					dirs = append(dirs, p)
				}
			case 1:
				_ = os.WriteFile(filepath.Join(dir, p), nil, 0o600)
			default:
				target := anyPath(3)
				if r.IntN(2) == 0 {
					target = "/" + target
				}
				_ = os.Symlink(target, filepath.Join(dir, p))
			}
		}
		x := rootfs.NewIndex(open(t, dir))
		for range 200 {
			p := anyPath(6)
			want, ok := step(x, p, true)
			i, found := x.Find(want)
			if got, err := x.Resolve(p); (err == nil) != (ok && found) || err == nil && got != i {
				t.Fatalf("%q leads to %d, %v, want %q", p, got, err, want)
			}
			if ok && found {
				existing++
			}
			// Where a path leads nowhere, it need not be told where that is.
			want, ok = step(x, p, false)
			if _, found := x.Find(want); ok && found {
				if got, ok := x.Canonical(p); !ok || got != want {
					t.Fatalf("%q: %q, %v, want %q", p, got, ok, want)
				}
			}
		}
	}
	if existing < 1000 {
		t.Errorf("only %d paths exist", existing)
	}
}

// treeOfLinks returns a tree with the links of a chain. Each leads through a thousand directories to the next one.
func treeOfLinks(t *testing.T, links int) rootfs.Tree {
	t.Helper()
	b := rootfs.NewBuilder(0)
	add := func(dir, name string, mode uint32, target string) {
		if err := b.Add(rootfs.Entry{Dir: dir, Name: name,
			FileHeader: &object.FileHeader{Mode: mode, Target: target}}); err != nil {
			t.Fatal(err)
		}
	}
	add("/", "", object.ModeDir|0o755, "")
	dir := ""
	for range 1000 {
		add("/"+strings.TrimPrefix(dir, "/"), "x", object.ModeDir|0o755, "")
		dir += "/x"
	}
	add(dir, "end", object.ModeRegular|0o644, "")
	for i := range links {
		target := dir + "/end"
		if i > 0 {
			target = fmt.Sprintf("%s/%06d", dir, i-1)
		}
		add(dir, fmt.Sprintf("%06d", i), object.ModeSymlink|0o777, target)
	}
	list, _ := b.List(nil)
	return files{list}
}

func TestLinksThroughThousandsOfDirectoriesAreFollowedQuickly(t *testing.T) {
	t.Parallel()
	const links = 1000
	x := rootfs.NewIndex(treeOfLinks(t, links))
	dir := strings.Repeat("/x", 1000)
	start := time.Now()
	for i := range links {
		_, err := x.Resolve(fmt.Sprintf("%s/%06d", dir, i))
		if want := i < 40; (err == nil) != want {
			t.Fatalf("link %d: %v", i, err)
		}
	}
	for range 3000 {
		if i, err := x.Resolve(dir + "/000038"); err != nil || x.Entry(i).Name != "end" {
			t.Fatal(i, err)
		}
	}
	// Step by step, it takes several minutes.
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it takes %v", took)
	}
}
