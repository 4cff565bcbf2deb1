package store

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/progress"
	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt/derived"
)

// Verification says whether a merge commit has the files of its layers.
type Verification struct {
	// Base is the ref of the first layer, and Derived the number of layers that are not those of a commit.
	Base    string
	Derived int
	// Files is how many files are as they should be.
	Files int
	// Mismatches are the others, by path.
	Mismatches []Mismatch
}

// Mismatch is a file of a merge commit that is not the file of the layers.
type Mismatch struct {
	Path string
	// Want is the object that belongs there, and Got the one that is there, or zero if the file is missing.
	Want, Got object.Checksum
}

// Verify merges the layers of a stored image again, in memory, and compares the files with those of the merge commit:
// type, mode and content. Owners and xattrs are not compared, since upstream's program loses some of them in
// repositories of the mode bare-user. Nothing is fetched or stored.
func Verify(ctx context.Context, r *repo.Repo, ref imgref.ImageReference) (v *Verification, err error) {
	img, err := Query(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Ref: imgref.Unverified(ref), repo: r, Image: img.Image}
	if err := p.arrange(); err != nil {
		return nil, err
	}
	v = &Verification{}
	opts := ImportOptions{}
	for i := range p.Layers {
		l := &p.Layers[i]
		name, err := layerRef(l.Descriptor.Digest)
		if err != nil {
			return nil, err
		}
		if l.Commit, err = r.ResolveRef(name); err != nil {
			return nil, err
		}
		if i == 0 {
			v.Base = name
		}
		opts.FactoryVar = opts.FactoryVar || derived.FactoryVar(ctx, r, l.Commit)
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, txn.Abort()) }()
	im := &importer{p: p, repo: r, opts: opts, emit: progress.Serialize(nil), res: &Imported{}}
	if err := im.base(ctx); err != nil {
		return nil, err
	}
	m := &merger{importer: im, txn: txn}
	err = m.derivedLayers(func(*Layer) error {
		v.Derived++
		return nil
	})
	if err == nil {
		err = m.makeTree(ctx)
	}
	if err != nil {
		return nil, err
	}
	return v, v.compare(ctx, txn, m.tree, img.Commit)
}

// compare compares the files of the merge commit with those that belong there.
func (v *Verification) compare(
	ctx context.Context, txn *repo.Txn, want *repo.MutableTree, merge object.Checksum,
) error {
	got := map[string]object.Checksum{}
	err := repo.EachFile(ctx, txn, merge, func(f repo.ObjectPath) error {
		got["/"+strings.TrimPrefix(f.Path, "/")] = f.Checksum
		return nil
	})
	if err != nil {
		return err
	}
	return want.Walk(ctx, func(p string, e repo.TreeEntry) error {
		if e.Dir {
			return nil
		}
		same, err := sameFile(ctx, txn, e.File, got[p])
		if err != nil {
			return err
		}
		if same {
			v.Files++
		} else {
			v.Mismatches = append(v.Mismatches, Mismatch{Path: p, Want: e.File, Got: got[p]})
		}
		return nil
	})
}

// sameFile compares two file objects, of which the second may be zero.
func sameFile(ctx context.Context, src repo.Source, a, b object.Checksum) (bool, error) {
	if a == b || b.IsZero() {
		return a == b, nil
	}
	var infos [2]*object.FileInfo
	for i, c := range []object.Checksum{a, b} {
		var err error
		if infos[i], err = src.FileInfo(ctx, c); err != nil {
			return false, err
		}
	}
	if infos[0].Mode != infos[1].Mode || infos[0].Size != infos[1].Size || infos[0].Target != infos[1].Target {
		return false, nil
	}
	if infos[0].IsSymlink() {
		return true, nil
	}
	var sums [2]object.Checksum
	for i, c := range []object.Checksum{a, b} {
		var err error
		if sums[i], err = contentSum(ctx, src, c); err != nil {
			return false, err
		}
	}
	return sums[0] == sums[1], nil
}

// contentSum hashes the content of a file object without its metadata.
func contentSum(ctx context.Context, src repo.Source, c object.Checksum) (sum object.Checksum, err error) {
	content, _, err := src.OpenFile(ctx, c)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	h, err := object.FileHasher(&object.FileHeader{Mode: object.ModeRegular})
	if err != nil {
		return sum, err
	}
	if _, err := io.Copy(h, ctxio.Reader(ctx, content)); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
