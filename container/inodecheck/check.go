package inodecheck

import (
	"context"
	"errors"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// Image is the check of one stored image.
type Image struct {
	Ref    imgref.ImageReference
	Commit object.Checksum
	*store.Verification
	// Clashes are the paths of files with an inode that could be taken for another; Unknown are other wrong files.
	Clashes, Unknown []string
	// Missing are those of Unknown that are not there.
	Missing []string
}

// Corrupt reports whether the merge commit has wrong files.
func (i *Image) Corrupt() bool { return len(i.Clashes)+len(i.Unknown) > 0 }

// Result says which images are likely to be wrong. Its JSON form is upstream's.
type Result struct {
	Booted bool     `json:"booted-is-likely-corrupted"`
	Inodes *Inodes  `json:"inodes"`
	Images []string `json:"likely-corrupted-container-image-merges"`
	Staged bool     `json:"staged-is-likely-corrupted"`
}

// JSON returns the canonical form.
func (r *Result) JSON() ([]byte, error) { return encode(r) }

// Corrupt returns the references of the wrong images.
func (r *Result) Corrupt() ([]imgref.ImageReference, error) {
	var refs []imgref.ImageReference
	for _, name := range r.Images {
		ref, err := imgref.ParseImageReference(name)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// Deployed are the commits of deployments, or zero.
type Deployed struct{ Booted, Staged object.Checksum }

// DeployedIn reads what is booted and staged from the sysroot at a path.
func DeployedIn(path string) (d Deployed, err error) {
	s, err := sysroot.Open(path)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	list, err := s.Deployments()
	if err != nil {
		return d, err
	}
	if booted := list.Booted(); booted != nil {
		d.Booted = booted.Commit
	}
	if staged := list.Staged(); staged != nil {
		d.Staged = staged.Commit
	}
	return d, nil
}

// Check compares each stored image with its layers. It calls report with each one. An image that is likely to be wrong,
// and what is booted or staged from it, are in the result.
func Check(
	ctx context.Context, r *repo.Repo, inodes *Inodes, deployed Deployed, report func(*Image) error,
) (*Result, error) {
	res := &Result{Inodes: inodes, Images: []string{}}
	refs, err := store.List(r)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		img, err := check(ctx, r, inodes, ref)
		if err != nil {
			return nil, err
		}
		if img.Corrupt() {
			res.Images = append(res.Images, ref.String())
			res.Booted = res.Booted || img.Commit == deployed.Booted
			res.Staged = res.Staged || img.Commit == deployed.Staged
		}
		if err := report(img); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func check(ctx context.Context, r *repo.Repo, inodes *Inodes, ref imgref.ImageReference) (*Image, error) {
	stored, err := store.Query(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	v, err := store.Verify(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	img := &Image{Ref: ref, Commit: stored.Commit, Verification: v}
	for _, m := range v.Mismatches {
		switch {
		case m.Got.IsZero():
			img.Missing = append(img.Missing, m.Path)
			img.Unknown = append(img.Unknown, m.Path)
		case inodes.affected(m.Want.String(), m.Got.String()):
			img.Clashes = append(img.Clashes, m.Path)
		default:
			img.Unknown = append(img.Unknown, m.Path)
		}
	}
	return img, nil
}

// ErrDeployed says that a deployment is likely to have wrong files.
var ErrDeployed = errors.New("a deployment that is likely to have wrong files is not put right: deploy its image again")

// Flush removes the images that are likely to be wrong, so that they are stored again from their layers by the next
// pull. It calls removed with each one. If what is booted or staged is wrong, the error is [ErrDeployed].
func Flush(ctx context.Context, r *repo.Repo, res *Result, removed func(imgref.ImageReference)) error {
	refs, err := res.Corrupt()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		removed(ref)
		if err := store.Remove(ctx, r, ref); err != nil {
			return err
		}
	}
	if res.Booted || res.Staged {
		return ErrDeployed
	}
	return nil
}
