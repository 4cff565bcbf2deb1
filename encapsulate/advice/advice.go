package advice

import (
	"cmp"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// Report is what there is to say about an image, or about what differs between two. `advise --json` prints it.
type Report struct {
	// Inputs are the names of what was judged: one, or the two that were compared.
	Inputs []string `json:"inputs,omitempty"`
	// Bytes is the size of the content that each update downloads and need not, and Download the same compressed. Both
	// are sums over the advice with EachUpdate.
	Bytes    uint64 `json:"bytes"`
	Download uint64 `json:"download,omitempty"`
	// Advice is sorted: first that with EachUpdate, and then by bytes, the largest first.
	Advice []Advice `json:"advice"`
}

// Advice is one kind of files that make updates larger.
type Advice struct {
	// Name is that of the rule or, between two builds, of the reason. docs/advice.md has a section for each.
	Name string `json:"name"`
	// Summary says what the files are, and End how to be rid of them.
	Summary string `json:"summary"`
	End     string `json:"end"`
	// EachUpdate says that each update downloads the files.
	EachUpdate bool `json:"each_update"`
	// Bytes is the size of the files. A file with several names counts once.
	Bytes uint64 `json:"bytes"`
	// Download is about the compressed size, or 0 if it is not known.
	Download uint64 `json:"download,omitempty"`
	// Files are sorted by size, the largest first, and then by path.
	Files []File `json:"files"`
}

// File is a file, or a layer, that advice is about.
type File struct {
	Path  string `json:"path"`
	Bytes uint64 `json:"bytes"`
	// Why says more about this file, where there is more to say.
	Why string `json:"why,omitempty"`

	index int // in the list of entries, or -1
	// download is about the compressed size, if it is known for this file.
	download uint64
}

// Options are what is known about a tree besides its listing.
type Options struct {
	// Set says which component owns each file, or is nil.
	Set *component.Set
	// Skip reports whether an entry does not count, because the layers of a base have it. It may be nil.
	Skip func(index int) bool
}

// bigFile is the size in bytes from which a file that nobody owns is worth advice.
const bigFile = 16e6

// Of judges a tree by names and sizes. It reads no file, so compressed sizes are not known before [Report.Estimate].
func Of(tree rootfs.Tree, opts Options) *Report {
	c := newCollector(tree, opts)
	for i, e := range c.all() {
		if rule := c.judge(i, e); rule >= 0 {
			c.add(rule, i, e, "")
		}
	}
	return c.report()
}

// collector collects files by rule.
type collector struct {
	*matcher
	tree  rootfs.Tree
	x     *rootfs.Index
	opts  Options
	files [][]File // by rule
}

func newCollector(tree rootfs.Tree, opts Options) *collector {
	m := newMatcher()
	return &collector{
		matcher: m, tree: tree, x: rootfs.NewIndex(tree), opts: opts, files: make([][]File, len(m.rules)),
	}
}

// all yields the files that count: those with content, each once.
func (c *collector) all() iter.Seq2[int, rootfs.Entry] {
	return func(yield func(int, rootfs.Entry) bool) {
		for i, e := range c.tree.Entries().All() {
			if !e.IsRegular() || e.Size == 0 || e.Link != i || c.opts.Skip != nil && c.opts.Skip(i) {
				continue
			}
			if !yield(i, e) {
				return
			}
		}
	}
}

// judge returns the rule of a file with content by its name and size, or -1.
func (c *collector) judge(i int, e rootfs.Entry) int {
	if rule := c.match(e); rule >= 0 {
		// This is what systemd writes into an image that has no identity yet.
		if e.Name == "machine-id" && e.Size <= int64(len("uninitialized\n")) {
			return -1
		}
		return rule
	}
	switch {
	case c.isJournal(e):
		return c.named[ruleJournals]
	case e.Size >= bigFile && c.opts.Set != nil && c.isUnowned(i) && !isInitramfs(e.Dir, e.Name):
		return c.named[ruleUnowned]
	}
	return -1
}

// isJournal reports whether a file is the journal of a file beside it.
func (c *collector) isJournal(e rootfs.Entry) bool {
	main, ok := isJournal(e.Name)
	if !ok {
		return false
	}
	i, ok := c.x.Find(path.Join(e.Dir, main))
	return ok && c.x.Entry(i).IsRegular()
}

// isUnowned reports whether no package and no rule of the user owns a file.
func (c *collector) isUnowned(i int) bool {
	claim := c.opts.Set.Claims[i]
	if claim.Component < 0 {
		return false
	}
	id := c.opts.Set.Components[claim.Component].ID
	return strings.HasPrefix(id, "file/") || strings.HasPrefix(id, "unowned/")
}

// databases are the beginnings of the IDs of components of packages of the system.
var databases = []string{"rpm/", "deb/", "apk/", "alpm/", "portage/", "opkg/", "chisel/"}

// isPackaged reports whether a package of the system owns a file.
func (c *collector) isPackaged(i int) bool {
	if c.opts.Set == nil || c.opts.Set.Claims[i].Component < 0 {
		return false
	}
	id := c.opts.Set.Components[c.opts.Set.Claims[i].Component].ID
	return slices.ContainsFunc(databases, func(p string) bool { return strings.HasPrefix(id, p) })
}

// add adds a file of the tree.
func (c *collector) add(rule, i int, e rootfs.Entry, why string) {
	c.files[rule] = append(c.files[rule], File{Path: e.Path(), Bytes: uint64(e.Size), Why: why, index: i})
}

// report returns the advice of all rules that have files.
func (c *collector) report() *Report {
	r := &Report{Advice: []Advice{}}
	for i, files := range c.files {
		if len(files) > 0 {
			r.Advice = append(r.Advice, c.rules[i].advice(files))
		}
	}
	r.finish()
	return r
}

// advice returns the advice about some files.
func (r *Rule) advice(files []File) Advice {
	a := Advice{Name: r.Name, Summary: r.Summary, End: r.End, EachUpdate: r.EachUpdate, Files: files}
	known := true
	for _, f := range files {
		a.Bytes += f.Bytes
		a.Download += f.download
		known = known && f.download > 0
	}
	if !known {
		a.Download = 0
	}
	slices.SortFunc(a.Files, func(x, y File) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Path, y.Path))
	})
	return a
}

// finish sorts the advice and adds it up.
func (r *Report) finish() {
	slices.SortFunc(r.Advice, func(x, y Advice) int {
		if x.EachUpdate != y.EachUpdate {
			if x.EachUpdate {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Name, y.Name))
	})
	r.Bytes, r.Download = 0, 0
	known := true
	for _, a := range r.Advice {
		if a.EachUpdate {
			r.Bytes += a.Bytes
			r.Download += a.Download
			known = known && a.Download > 0
		}
	}
	if !known {
		r.Download = 0
	}
}
