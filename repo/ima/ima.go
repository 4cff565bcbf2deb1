// Package ima signs the files of commits for the kernel's integrity measurement architecture, with the program evmctl.
package ima

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// Xattr is the xattr with the signature of a file. In objects its name ends with a NUL, as all names do. Upstream's
// program leaves the NUL out, which new versions of libostree refuse; its signatures are recognised all the same.
const Xattr = "security.ima"

// userXattr is where evmctl stores signatures with --xattr-user, which takes no privilege.
const userXattr = "user.ima"

// tool is the program that signs, and toolPackage the package that has it.
const (
	tool        = "evmctl"
	toolPackage = "ima-evm-utils"
)

// ErrNoXattrs is wrapped by errors about repositories that cannot store signatures.
var ErrNoXattrs = errors.New("the repository does not store xattrs")

// Options are the options of [Sign].
type Options struct {
	// Algorithm is the digest algorithm, such as "sha256", and Key the file with the private key.
	Algorithm, Key string
	// Overwrite signs files again that have a signature.
	Overwrite bool
}

// Sign writes a commit again in which each regular file has a signature, sets a ref to it, and returns it. Everything
// else of the commit stays as it is, also its parent and its time. Each file object is signed once.
//
// If evmctl is not installed, the error wraps a [*hosttool.MissingError].
func Sign(
	ctx context.Context, r *repo.Repo, commit object.Checksum, ref string, opts Options,
) (id object.Checksum, err error) {
	if r.Mode() == repo.ModeBareUserOnly || r.Config().DisableXattrs {
		return id, fmt.Errorf("repository %s: %w", r.Path(), ErrNoXattrs)
	}
	program, err := hosttool.Find(tool, toolPackage)
	if err != nil {
		return id, fmt.Errorf("Spawning %s: %w", tool, err) //nolint:staticcheck // upstream's text
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return id, err
	}
	// The filesystem of the repository is the one most likely to store xattrs.
	dir, err := os.MkdirTemp(filepath.Join(r.Path(), "tmp"), "ima-")
	if err != nil {
		return id, errors.Join(err, txn.Abort())
	}
	s := &signer{txn: txn, opts: opts, program: program, dir: dir, signed: map[object.Checksum]object.Checksum{}}
	id, err = s.commit(ctx, commit)
	if err == nil {
		err = txn.Complete(ctx, id, ref)
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err == nil {
		_, err = txn.Commit(ctx)
	}
	if err != nil {
		return id, fmt.Errorf("signing commit %s: %w", commit, errors.Join(err, txn.Abort()))
	}
	return id, nil
}

// signer signs the files of a commit.
type signer struct {
	txn     *repo.Txn
	opts    Options
	program string
	dir     string // for temporary files

	mu     sync.Mutex
	signed map[object.Checksum]object.Checksum // objects by those that they were made from
}

// commit writes the signed commit.
func (s *signer) commit(ctx context.Context, id object.Checksum) (object.Checksum, error) {
	c, err := repo.LoadCommit(ctx, s.txn, id)
	if err != nil {
		return id, err
	}
	tree, err := repo.TreeFromCommit(ctx, s.txn, id)
	if err != nil {
		return id, err
	}
	files := map[object.Checksum][]string{} // paths
	err = tree.Walk(ctx, func(p string, e repo.TreeEntry) error {
		if !e.Dir {
			files[e.File] = append(files[e.File], p)
		}
		return nil
	})
	if err != nil {
		return id, err
	}
	if err := s.files(ctx, files); err != nil {
		return id, err
	}
	for from, to := range s.signed {
		for _, p := range files[from] {
			if err := tree.SetFile(ctx, p, to); err != nil {
				return id, err
			}
		}
	}
	if c.Tree, _, err = tree.WriteTo(ctx, s.txn); err != nil {
		return id, err
	}
	return s.txn.WriteCommit(ctx, c)
}

// files signs file objects, several at once.
func (s *signer) files(ctx context.Context, files map[object.Checksum][]string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for c, paths := range files {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := s.file(gctx, c); err != nil {
				return fmt.Errorf("%s: %w", paths[0], err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// file signs one file object, unless it is a symlink or has a signature.
func (s *signer) file(ctx context.Context, c object.Checksum) error {
	info, err := s.txn.FileInfo(ctx, c)
	if err != nil {
		return err
	}
	if _, ok := info.Xattrs.Get(Xattr); info.IsSymlink() || ok && !s.opts.Overwrite {
		return nil
	}
	signature, err := s.sign(ctx, c)
	if err != nil {
		return err
	}
	h := info.FileHeader
	// The last value of a name counts.
	h.Xattrs = object.NewXattrs(append(append([]object.Xattr{}, h.Xattrs...), object.Xattr{Name: Xattr, Value: signature}))
	to, err := s.txn.WriteHeader(ctx, &h, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed[c] = to
	return nil
}

// sign returns the signature of a file object's content.
func (s *signer) sign(ctx context.Context, c object.Checksum) (_ []byte, err error) {
	name := filepath.Join(s.dir, c.String())
	if err := s.copy(ctx, c, name); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	_, err = hosttool.Run(ctx, s.program,
		"ima_sign", "--xattr-user", "--key", s.opts.Key, "--hashalgo", s.opts.Algorithm, name)
	if err != nil {
		return nil, err
	}
	const most = 64 << 10 // the kernel's limit on the value of an xattr
	value := make([]byte, most)
	n, err := unix.Lgetxattr(name, userXattr, value)
	if err != nil {
		return nil, fmt.Errorf("%s did not store the xattr %s: %w", tool, userXattr, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s stored an empty signature", tool)
	}
	return value[:n], nil
}

// copy writes the content of a file object to a temporary file.
func (s *signer) copy(ctx context.Context, c object.Checksum, name string) (err error) {
	content, _, err := s.txn.OpenFile(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, ctxio.Reader(ctx, content))
	return errors.Join(err, f.Close())
}
