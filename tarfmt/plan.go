package tarfmt

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// plan says what a stream contains besides the skeleton.
type plan struct {
	commit    object.Checksum
	structure bool       // the commit, its tree objects and directories
	files     bool       // with structure: each directory's files follow its dirtree
	chunk     repo.Files // written last; may be nil
	parents   bool       // with chunk: directory entries before files
}

type stepKind uint8

const (
	stepSkeleton stepKind = iota
	stepDir
	stepMetadata
	stepContent // a file object
	stepLink    // a visible file; its object is that of the last content step
)

// step is one part of the stream.
type step struct {
	kind  stepKind
	path  string
	attrs attributes // for directories
	data  []byte     // for metadata
	fetch *fetch
	err   error // ends the stream
}

// planner turns a plan into steps, and passes the file objects to the workers in that order.
type planner struct {
	plan
	src   repo.Source
	steps chan step
	jobs  chan *fetch
	free  chan *fetch

	metadata map[object.Name]bool         // written trees
	objects  map[object.Checksum]struct{} // written files; a chunk has no file twice
	dirs     map[string]bool              // directories written before files of the chunk, mapped
	metas    map[string]object.Checksum   // dirmetas of all directories, by path in the commit without leading "/"
	varTmp   bool
}

func (p *planner) send(ctx context.Context, s step) error {
	select {
	case p.steps <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *planner) run(ctx context.Context) error {
	if !p.structure {
		if err := p.send(ctx, step{kind: stepSkeleton}); err != nil {
			return err
		}
		return p.chunkBody(ctx)
	}
	p.metadata = map[object.Name]bool{}
	p.objects = map[object.Checksum]struct{}{}
	if err := p.commitBody(ctx); err != nil {
		return fmt.Errorf("commit %s: %w", p.commit, err)
	}
	return p.chunkBody(ctx)
}

func (p *planner) commitBody(ctx context.Context) error {
	commit, err := repo.LoadCommit(ctx, p.src, p.commit)
	if err != nil {
		return err
	}
	rootMeta, err := repo.LoadDirMeta(ctx, p.src, commit.Meta)
	if err != nil {
		return err
	}
	for _, s := range []step{{kind: stepDir, path: "./", attrs: dirAttributes(rootMeta)}, {kind: stepSkeleton}} {
		if err := p.send(ctx, s); err != nil {
			return err
		}
	}
	if err := p.once(ctx, object.Name{Checksum: p.commit, Type: object.TypeCommit}, nil); err != nil {
		return err
	}
	detached := object.Name{Checksum: p.commit, Type: object.TypeCommitMeta}
	switch data, err := p.src.Metadata(ctx, detached); {
	case err == nil:
		if err := p.sendMetadata(ctx, detached, data); err != nil {
			return err
		}
	case !errors.Is(err, repo.ErrObjectNotFound):
		return err
	}
	if err := p.dirMeta(ctx, "/", commit.Meta, rootMeta); err != nil {
		return err
	}
	if err := p.tree(ctx, commit.Tree); err != nil {
		return err
	}
	if p.varTmp {
		return nil
	}
	return p.send(ctx, step{kind: stepDir, path: "var/tmp", attrs: attributes{mode: 0o1777}})
}

func (p *planner) tree(ctx context.Context, root object.Checksum) error {
	return repo.WalkTree(ctx, p.src, root, repo.TreeVisitor{
		Tree: func(d *repo.TreeDir) error {
			if err := p.once(ctx, object.Name{Checksum: d.Checksum, Type: object.TypeDirTree}, d.Data); err != nil {
				return fmt.Errorf("directory %s: %w", d.Path, err)
			}
			if !p.files {
				return nil
			}
			return p.filesOf(ctx, d)
		},
		Dir: func(parent string, d object.DirEntry) (bool, error) { return p.directory(ctx, parent, d) },
	})
}

// filesOf writes the files of a directory.
func (p *planner) filesOf(ctx context.Context, d *repo.TreeDir) error {
	for _, f := range d.Files {
		_, written := p.objects[f.Checksum]
		p.objects[f.Checksum] = struct{}{}
		if err := p.content(ctx, f.Checksum, path.Join(d.Path, f.Name), written); err != nil {
			return err
		}
		if err := p.send(ctx, step{kind: stepLink, path: "./" + mapEtc(path.Join(d.Path, f.Name)[1:])}); err != nil {
			return err
		}
	}
	return nil
}

// directory writes a directory and its dirmeta. Everything below the root's sysroot is left out.
func (p *planner) directory(ctx context.Context, parent string, d object.DirEntry) (skip bool, err error) {
	meta, err := repo.LoadDirMeta(ctx, p.src, d.Meta)
	if err != nil {
		return false, err
	}
	if err := p.dirMeta(ctx, path.Join(parent, d.Name), d.Meta, meta); err != nil {
		return false, err
	}
	if parent == "/" && d.Name == "sysroot" {
		return true, nil
	}
	dest := "./" + mapEtc(path.Join(parent, d.Name)[1:])
	if dest == "./var/tmp" {
		p.varTmp = true
	}
	return false, p.send(ctx, step{kind: stepDir, path: dest, attrs: dirAttributes(meta)})
}

// dirMeta writes the dirmeta of a directory unless the stream has it.
func (p *planner) dirMeta(ctx context.Context, dir string, c object.Checksum, meta *object.DirMeta) error {
	err := checkXattrs(meta.Xattrs)
	if err == nil {
		err = p.once(ctx, object.Name{Checksum: c, Type: object.TypeDirMeta}, nil)
	}
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	return nil
}

// once writes a metadata object unless the stream has it. If data is nil, the object is read.
func (p *planner) once(ctx context.Context, name object.Name, data []byte) (err error) {
	if p.metadata[name] {
		return nil
	}
	p.metadata[name] = true
	if data == nil {
		if data, err = p.src.Metadata(ctx, name); err != nil {
			return err
		}
	}
	return p.sendMetadata(ctx, name, data)
}

// sendMetadata refuses an object that no importer would take.
func (p *planner) sendMetadata(ctx context.Context, name object.Name, data []byte) error {
	if len(data) > maxMetadataSize {
		return fmt.Errorf("%w: its %s has %d bytes, and %d are allowed", ErrTooLarge, name.Type, len(data), maxMetadataSize)
	}
	return p.send(ctx, metadataStep(name, data))
}

// content takes a free slot, for which it may wait until the writer catches up, and passes it to the workers.
func (p *planner) content(ctx context.Context, c object.Checksum, name string, infoOnly bool) error {
	select {
	case f := <-p.free:
		f.checksum, f.path, f.infoOnly = c, name, infoOnly
		p.jobs <- f // never full: it has room for every slot
		return p.send(ctx, step{kind: stepContent, fetch: f})
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *planner) chunkBody(ctx context.Context) error {
	if p.chunk == nil {
		return nil
	}
	for i := range p.chunk.Len() {
		c := p.chunk.Checksum(i)
		order := -1
		if i > 0 {
			order = p.chunk.Checksum(i - 1).Compare(c)
		}
		if order > 0 {
			return fmt.Errorf("the objects of the layer are not in order: %s follows %s", c, p.chunk.Checksum(i-1))
		}
		if order < 0 {
			if err := p.content(ctx, c, p.chunk.Path(i), false); err != nil {
				return err
			}
		}
		name := p.chunk.Path(i)
		rel, ok := strings.CutPrefix(name, "/")
		if !ok {
			return fmt.Errorf("path %q is not absolute", name)
		}
		dest := mapEtc(rel)
		if err := p.parentDirs(ctx, rel, dest); err != nil {
			return err
		}
		if err := p.send(ctx, step{kind: stepLink, path: dest}); err != nil {
			return err
		}
	}
	return nil
}

// parentDirs writes the parent directories of a file that the layer does not have yet, outermost first.
func (p *planner) parentDirs(ctx context.Context, rel, dest string) error {
	if !p.parents {
		return nil
	}
	if p.metas == nil {
		if err := p.loadDirs(ctx); err != nil {
			return fmt.Errorf("commit %s: %w", p.commit, err)
		}
	}
	for i, c := range dest {
		if c != '/' || p.dirs[dest[:i]] {
			continue
		}
		p.dirs[dest[:i]] = true
		// The two paths differ in the prefix that mapEtc removes.
		source := rel[:len(rel)-len(dest)+i]
		sum, ok := p.metas[source]
		if !ok {
			return fmt.Errorf("commit %s has no directory %q", p.commit, "/"+source)
		}
		meta, err := repo.LoadDirMeta(ctx, p.src, sum)
		if err != nil {
			return err
		}
		if err := p.send(ctx, step{kind: stepDir, path: dest[:i], attrs: dirAttributes(meta)}); err != nil {
			return err
		}
	}
	return nil
}

// loadDirs finds the dirmeta of every directory of the commit.
func (p *planner) loadDirs(ctx context.Context) error {
	commit, err := repo.LoadCommit(ctx, p.src, p.commit)
	if err != nil {
		return err
	}
	p.dirs, p.metas = map[string]bool{}, map[string]object.Checksum{}
	return repo.WalkTree(ctx, p.src, commit.Tree,
		repo.TreeVisitor{Dir: func(parent string, d object.DirEntry) (bool, error) {
			p.metas[path.Join(parent, d.Name)[1:]] = d.Meta
			return false, nil
		}})
}

func dirAttributes(m *object.DirMeta) attributes {
	return attributes{uid: m.UID, gid: m.GID, mode: m.Mode}
}

func metadataStep(name object.Name, data []byte) step {
	return step{kind: stepMetadata, path: objectPath(name.Checksum, name.Type.String()), data: data}
}

const objectsPrefix = "sysroot/ostree/repo/objects/"

func objectPath(c object.Checksum, extension string) string {
	hex := c.String()
	return objectsPrefix + hex[:2] + "/" + hex[2:] + "." + extension
}

// paxXattrs returns the records from which container engines set a file's xattrs. Labels are left out: a host labels
// files by its own policy, and the xattrs file of the object has them.
func paxXattrs(xattrs object.Xattrs) ([]byte, error) {
	var records []byte
	for _, x := range xattrs {
		if x.Name == "security.selinux" {
			continue
		}
		if !utf8.ValidString(x.Name) {
			return nil, fmt.Errorf("the name of xattr %q is not UTF-8, which a tar stream cannot carry", x.Name)
		}
		records = appendPAX(records, "SCHILY.xattr."+x.Name, x.Value)
	}
	return records, nil
}

// appendPAX appends a record. The length of a record includes its own digits.
func appendPAX(records []byte, key string, value []byte) []byte {
	const framing = len(" =\n")
	size := len(key) + len(value) + framing
	size += len(strconv.Itoa(size))
	if s := len(key) + len(value) + framing + len(strconv.Itoa(size)); s > size {
		size = s
	}
	records = strconv.AppendInt(records, int64(size), 10)
	records = append(records, ' ')
	records = append(records, key...)
	records = append(records, '=')
	records = append(records, value...)
	return append(records, '\n')
}
