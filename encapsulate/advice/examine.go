package advice

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/advice/archive"
	"github.com/ostree-ext/ostree-ext-go/repo/rootfs"
)

// ExamineOptions are the options of [Examine].
type ExamineOptions struct {
	Options
	// TimesKept says that the files of the tree keep the times of their modification, as in an image of another program.
	// In layers of this program, and in commits, all times are 0.
	TimesKept bool
	// Layers are the layers of the image that the tree comes from, if it comes from one.
	Layers *Layers
}

// Examine judges a tree as [Of] does, and also reads what tells more: the headers of compiled Python files and of gzip,
// and the list of files in initial RAM disks. It estimates compressed sizes from the beginnings of files.
func Examine(ctx context.Context, tree rootfs.Tree, opts ExamineOptions) (*Report, error) {
	c := &examiner{collector: newCollector(tree, opts.Options), ctx: ctx, opts: opts}
	for i, e := range c.all() {
		rule, why, err := c.examine(i, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path(), err)
		}
		if rule >= 0 {
			c.add(rule, i, e, why)
		}
	}
	if opts.Layers != nil {
		if err := c.layers(ctx, opts.Layers); err != nil {
			return nil, err
		}
	}
	r := c.report()
	return r, r.Estimate(ctx, tree)
}

type examiner struct {
	*collector
	ctx  context.Context
	opts ExamineOptions
}

// examine returns the rule of a file, or -1, and what there is to say about it.
func (c *examiner) examine(i int, e rootfs.Entry) (rule int, why string, err error) {
	if rule := c.judge(i, e); rule >= 0 {
		return rule, "", nil
	}
	name := ""
	switch {
	case isInitramfs(e.Dir, e.Name):
		name = ruleInitramfs
		why, err = c.initramfs(i)
	case strings.HasSuffix(e.Name, ".pyc"):
		name, why, err = c.bytecode(i, e)
	case strings.HasSuffix(e.Name, ".gz") && !c.isPackaged(i):
		name = ruleGzipTimes
		why, err = c.gzip(i)
	}
	if why == "" || err != nil {
		return -1, "", err
	}
	return c.named[name], why, nil
}

// head reads the first bytes of a file: as many as there are, at most n.
func (c *examiner) head(i, n int) ([]byte, error) {
	r, err := c.tree.Open(c.ctx, i)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = io.ReadFull(r, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return buf[:n], errors.Join(err, r.Close())
}

// gzip says that the header of a file has a time.
func (c *examiner) gzip(i int) (string, error) {
	head, err := c.head(i, 10)
	if err != nil || archive.Kind(head) != "gzip" {
		return "", err
	}
	if t := binary.LittleEndian.Uint32(head[4:]); t != 0 {
		return "its header has the time " + clock(int64(t)), nil
	}
	return "", nil
}

// clock formats seconds since 1970.
func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// pyc is the header of a compiled Python file.
type pyc struct {
	// hashed says that it has a hash of the source instead of time and size.
	hashed  bool
	time    uint32
	hasSize bool
	size    uint32
}

// pycHeader is the length of the longest header in bytes.
const pycHeader = 16

// parsePyc parses the header of a compiled Python file. The first two bytes are the version of the format. PEP 552 has
// the form since 3.7; before that there were no flags, and before 3.3 no size. PyPy counts its own versions, below
// those of Python 3, and follows PEP 552.
func parsePyc(head []byte) (p pyc, ok bool) {
	if len(head) < 8 || head[2] != '\r' || head[3] != '\n' {
		return p, false
	}
	number := func(at int) uint32 { return binary.LittleEndian.Uint32(head[at:]) }
	switch version := binary.LittleEndian.Uint16(head); {
	case version >= 3392 && version < 20000 || version < 3000:
		if len(head) < pycHeader {
			return p, false
		}
		if number(4)&1 != 0 {
			return pyc{hashed: true}, true
		}
		return pyc{time: number(8), hasSize: true, size: number(12)}, true
	case version >= 3230 && version < 20000:
		if len(head) < 12 {
			return p, false
		}
		return pyc{time: number(4), hasSize: true, size: number(8)}, true
	}
	return pyc{time: number(4)}, true
}

// bytecode compares the header of a compiled Python file with its source.
func (c *examiner) bytecode(i int, e rootfs.Entry) (name, why string, err error) {
	head, err := c.head(i, pycHeader)
	if err != nil {
		return "", "", err
	}
	p, ok := parsePyc(head)
	if !ok || p.hashed {
		return "", "", nil
	}
	source, cached := sourceOf(e)
	j, exists := c.x.Find(source)
	if !exists && cached {
		return rulePycStale, "its source " + source + " is not there", nil
	}
	if exists {
		s := c.x.Entry(j)
		if s.IsRegular() && p.hasSize && p.size != uint32(s.Size) {
			return rulePycStale, fmt.Sprintf("it was compiled from %d bytes, and %s has %d", p.size, source, s.Size), nil
		}
	}
	switch {
	case p.time == 0:
	case !c.isPackaged(i):
		return rulePycTimes, "its header has the time " + clock(int64(p.time)), nil
	case exists && !c.opts.TimesKept:
		return rulePycStale, "its header has the time " + clock(int64(p.time)) + ", and files of layers have 0", nil
	}
	return "", "", nil
}

// sourceOf returns the path of the source of a compiled Python file, and whether the file is in a cache directory.
// Python ignores those without a source.
func sourceOf(e rootfs.Entry) (source string, cached bool) {
	base := strings.TrimSuffix(e.Name, ".pyc")
	if path.Base(e.Dir) != "__pycache__" {
		return path.Join(e.Dir, base+".py"), false
	}
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".opt-1"), ".opt-2")
	base = strings.TrimSuffix(base, path.Ext(base)) // the interpreter
	return path.Join(path.Dir(e.Dir), base+".py"), true
}

// The limits on an initial RAM disk.
const (
	maxMembers = 200_000
	maxContent = 2 << 30
)

// initramfs says how an initial RAM disk shows that another build makes another one.
func (c *examiner) initramfs(i int) (why string, err error) {
	r, err := c.tree.Open(c.ctx, i)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	list, err := archive.Read(r, archive.Options{Members: maxMembers, Bytes: maxContent})
	for _, ignored := range []error{archive.ErrFormat, archive.ErrBroken, archive.ErrTooLarge} {
		if errors.Is(err, ignored) {
			err = nil // what could be read counts
		}
	}
	if err != nil {
		return "", err
	}
	return strings.Join(irreproducible(list), "; "), c.ctx.Err()
}

// recently is the number of seconds before the newest member in which a build makes directories.
const recently = 600

// irreproducible returns what in an archive differs in each build. A reproducible one has all times of the build set to
// one, and inode numbers that count the members. Older times come from packages and stay.
func irreproducible(list *archive.Contents) (why []string) {
	for _, t := range list.GzipTimes {
		why = append(why, "the gzip header has the time "+clock(int64(t)))
	}
	var newest int64
	for _, m := range list.Members {
		newest = max(newest, m.Time)
	}
	times := map[int64]bool{}
	counted := true
	next := uint64(0)
	for _, m := range list.Members {
		if m.Dir && m.Time > newest-recently {
			times[m.Time] = true
		}
		if !m.First && m.Inode > next {
			counted = false
		}
		if m.First {
			next = 0
		}
		next = max(next, m.Inode+1)
	}
	if len(times) > 1 {
		why = append(why, fmt.Sprintf("its directories have %d times within ten minutes, up to %s", len(times),
			clock(newest)))
	}
	if !counted {
		why = append(why, "its files have the inode numbers of the file system of the build")
	}
	if !sorted(list.Members) {
		why = append(why, "its files are in the order of directories, not of names")
	}
	return why
}

// sorted reports whether members are in an order that does not depend on the file system: by bytes, or as a locale
// sorts, where only letters and digits count.
func sorted(list []archive.Member) bool {
	var parts [][]archive.Member
	for i, m := range list {
		if i == 0 || m.First {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], m)
	}
	letters := func(name string) string {
		return strings.ToLower(strings.Map(func(r rune) rune {
			if r < 0x80 && strings.ContainsRune(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", r) {
				return -1
			}
			return r
		}, name))
	}
	for _, p := range parts {
		byBytes := slices.IsSortedFunc(p, func(a, b archive.Member) int { return strings.Compare(a.Name, b.Name) })
		byLetters := slices.IsSortedFunc(p, func(a, b archive.Member) int {
			return strings.Compare(letters(a.Name), letters(b.Name))
		})
		byParts := slices.IsSortedFunc(p, func(a, b archive.Member) int {
			return slices.Compare(strings.Split(a.Name, "/"), strings.Split(b.Name, "/"))
		})
		if !byBytes && !byLetters && !byParts {
			return false
		}
	}
	return true
}
