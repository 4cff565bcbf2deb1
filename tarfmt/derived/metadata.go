package derived

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

const (
	// keyVersion and Version are upstream's: a commit says which importer wrote it.
	keyVersion = "ostree.importer.version"
	// keyLinks lists the hard links of a layer to lower layers, as pairs of paths in the commit: the link, its target.
	keyLinks = "ostree-ext.lower-links"
	// keyRoot says which directories the layer was imported for, as text that rootText returns.
	keyRoot = "ostree-ext.root"
)

// Version is the version of upstream's importer whose commits this package writes.
const Version = "0.15.3"

func rootText(r Root) string {
	text := "usr"
	if r.Other {
		text += " other"
	}
	if r.FactoryVar {
		text += " factory-var"
	}
	return text
}

// Fits reports whether a layer commit was imported for hosts that treat directories in the given way. For commits of
// other programs that is not known, and assumed.
func Fits(ctx context.Context, src repo.Source, layer object.Checksum, root Root) bool {
	c, err := repo.LoadCommit(ctx, src, layer)
	if err != nil {
		return false
	}
	v, ok := c.Metadata.Lookup(keyRoot)
	if !ok {
		return true
	}
	text, err := v.Text()
	return err == nil && text == rootText(root)
}

// FactoryVar reports whether a layer commit was imported with Root.FactoryVar. For commits of other programs that is
// not known, and it returns false.
func FactoryVar(ctx context.Context, src repo.Source, layer object.Checksum) bool {
	return Fits(ctx, src, layer, Root{FactoryVar: true}) && !Fits(ctx, src, layer, Root{}) ||
		Fits(ctx, src, layer, Root{Other: true, FactoryVar: true}) && !Fits(ctx, src, layer, Root{Other: true})
}

// layerMetadata returns the metadata of a layer commit.
func layerMetadata(root Root, links map[string]string) gvariant.Dict {
	d := gvariant.Dict{}.Set(keyVersion, gvariant.String(Version)).Set(keyRoot, gvariant.String(rootText(root)))
	if len(links) == 0 {
		return d
	}
	list := make([]string, 0, 2*len(links))
	for _, p := range slices.Sorted(maps.Keys(links)) {
		list = append(list, p, links[p])
	}
	return d.Set(keyLinks, gvariant.Strings(list))
}

// lowerLinks returns the hard links to lower layers that a layer commit records, as pairs of a link and its target.
func lowerLinks(c *object.Commit) (links [][2]string, err error) {
	v, ok := c.Metadata.Lookup(keyLinks)
	if !ok {
		return nil, nil
	}
	list, err := v.Strings()
	if err != nil || len(list)%2 != 0 {
		return nil, fmt.Errorf("%w: the key %s of a layer's commit is not a list of pairs", object.ErrNotNormal, keyLinks)
	}
	for pair := range slices.Chunk(list, 2) {
		links = append(links, [2]string{pair[0], pair[1]})
	}
	return links, nil
}

// writeDirMeta writes the metadata of a directory, without xattrs that have no value, as is done for files.
func writeDirMeta(ctx context.Context, txn *repo.Txn, m *object.DirMeta) (object.Checksum, error) {
	m.Xattrs = slices.DeleteFunc(slices.Clone(m.Xattrs), func(x object.Xattr) bool { return len(x.Value) == 0 })
	data, err := object.EncodeDirMeta(m)
	if err != nil {
		return object.Checksum{}, err
	}
	return txn.WriteMetadata(ctx, object.TypeDirMeta, data)
}
