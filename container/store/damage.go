package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

// plan says how damaged objects can be put right.
type plan struct {
	layers []*Layer // to import again
	merge  bool     // some objects are only in the merge commit
}

// choose returns the layers that have the damaged objects, as few bytes as possible. A layer that has no commit is one
// of them. A file of the commit is in its first layer if no chunk has it; while the list of a chunk's files is damaged,
// that is not known, so such files wait.
func choose(p *Prepared, problems []repo.FsckProblem) plan {
	var out plan
	add := func(l *Layer) {
		if !slices.Contains(out.layers, l) {
			out.layers = append(out.layers, l)
		}
	}
	for i := range p.Layers {
		if p.Layers[i].Commit.IsZero() {
			add(&p.Layers[i])
		}
	}
	unknown := unlisted(p, problems)
	var several [][]*Layer
	known := constants()
	for _, problem := range problems {
		if known[problem.Object] != nil {
			continue
		}
		switch have, wait := holders(p, problem, unknown); {
		case len(have) == 1:
			add(have[0])
		case len(have) > 1:
			several = append(several, have)
		case !wait:
			out.merge = true
		}
	}
	for _, have := range several {
		if !slices.ContainsFunc(have, func(l *Layer) bool { return slices.Contains(out.layers, l) }) {
			add(slices.MinFunc(have, func(a, b *Layer) int { return cmp.Compare(a.Descriptor.Size, b.Descriptor.Size) }))
		}
	}
	for _, l := range out.layers {
		out.merge = out.merge || l.Kind == oci.Derived || l.Kind == oci.Plain
	}
	return out
}

// unlisted reports whether the list of files of a chunk is damaged.
func unlisted(p *Prepared, problems []repo.FsckProblem) bool {
	for _, l := range p.Layers {
		if l.Kind != oci.Chunk {
			continue
		}
		if l.Commit.IsZero() {
			return true
		}
		for _, problem := range problems {
			if t := problem.Object.Type; (t == object.TypeCommit || t == object.TypeDirTree) &&
				slices.Contains(problem.Commits, l.Commit) {
				return true
			}
		}
	}
	return false
}

// holders returns the layers that have an object: none if only the merge commit has it, or if it has to wait.
func holders(p *Prepared, problem repo.FsckProblem, unknown bool) (have []*Layer, wait bool) {
	var base *Layer
	chunk := false
	for i := range p.Layers {
		l := &p.Layers[i]
		if !slices.Contains(problem.Commits, l.Commit) {
			continue
		}
		if l.Kind == oci.Commit && problem.Object.Type == object.TypeFile {
			base = l
			continue
		}
		chunk = chunk || l.Kind == oci.Chunk
		have = append(have, l)
	}
	switch {
	case base == nil || chunk:
	case unknown:
		wait = true
	default:
		have = append(have, base)
	}
	return have, wait
}

// constants returns objects that many images have, whose content is known: those of a chunk without files, whose
// metadata of the directory are those of every chunk, and whose directory is every empty one.
func constants() map[object.Name][]byte {
	commit, dirtree, dirmeta := tarfmt.SyntheticCommit(nil)
	known := map[object.Name][]byte{}
	for typ, data := range map[object.Type][]byte{
		object.TypeCommit: commit, object.TypeDirTree: dirtree, object.TypeDirMeta: dirmeta,
	} {
		known[object.Name{Checksum: object.HashMetadata(data), Type: typ}] = data
	}
	return known
}

// Users returns the stored images that need a commit: as the merge commit, or as that of a layer. Of an image whose
// merge commit cannot be read, only that commit is known.
func Users(ctx context.Context, r *repo.Repo) (map[object.Checksum][]imgref.ImageReference, error) {
	refs, err := r.Refs(imagePrefix)
	if err != nil {
		return nil, err
	}
	users := map[object.Checksum][]imgref.ImageReference{}
	for _, ref := range refs {
		name, err := parseImageRef(ref.Name)
		if err != nil {
			continue
		}
		add := func(c object.Checksum) {
			if !slices.Contains(users[c], name) {
				users[c] = append(users[c], name)
			}
		}
		add(ref.Commit)
		img, err := Load(ctx, r, ref.Commit)
		if err != nil {
			continue
		}
		for _, l := range img.Layers {
			name, err := layerRef(l.Descriptor.Digest)
			if err != nil {
				continue
			}
			if c, err := r.ResolveRef(name); err == nil {
				add(c)
			}
		}
	}
	return users, nil
}

// Needing returns for each problem of a repository the stored images that need the object, in order.
func Needing(
	ctx context.Context, r *repo.Repo, problems []repo.FsckProblem,
) (images [][]imgref.ImageReference, err error) {
	users, err := Users(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		var list []imgref.ImageReference
		if image, err := parseImageRef(p.Ref); err == nil && strings.HasPrefix(p.Ref, imagePrefix+"/") {
			list = append(list, image)
		}
		for _, c := range p.Commits {
			list = append(list, users[c]...)
		}
		images = append(images, sortImages(list))
	}
	return images, nil
}

// Incomplete returns the stored images that need a commit which is marked as partial, in order.
func Incomplete(ctx context.Context, r *repo.Repo) ([]imgref.ImageReference, error) {
	users, err := Users(ctx, r)
	if err != nil {
		return nil, err
	}
	var list []imgref.ImageReference
	for c, images := range users {
		state, err := r.IsPartial(c)
		if err != nil {
			return nil, err
		}
		if state != repo.CommitComplete {
			list = append(list, images...)
		}
	}
	return sortImages(list), nil
}

func sortImages(list []imgref.ImageReference) []imgref.ImageReference {
	slices.SortFunc(list, func(a, b imgref.ImageReference) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(list)
}
