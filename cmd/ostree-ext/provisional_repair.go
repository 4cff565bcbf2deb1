package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/inodecheck"
	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/internal/hosttool"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

const inodeIntroduction = `Old versions of libostree cut the numbers of inodes to 32 bits, and could take one file for
another. This looks for objects that this may have happened to.

`

func newProvisionalRepairCommand(a *app) *cobra.Command {
	c := group("provisional-repair", "Find images that an old libostree stored wrongly",
		newAnalyzeInodesCommand(a), newInodeRepairCommand(a))
	c.Hidden = true
	return c
}

// inodeFlags are the options that both commands have.
type inodeFlags struct {
	verbose bool
	result  string
}

func (f *inodeFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.verbose, "verbose", false, "print each object or path")
	c.Flags().StringVar(&f.result, "write-result-to", "", "write the result as JSON to `FILE`")
}

func (f *inodeFlags) write(ctx context.Context, data []byte, err error) error {
	if err != nil || f.result == "" {
		return err
	}
	return output.WriteFile(ctx, f.result, data)
}

func newAnalyzeInodesCommand(a *app) *cobra.Command {
	var path string
	var f inodeFlags
	c := &cobra.Command{
		Use:     "analyze-inodes --repo=REPO [--verbose] [--write-result-to=FILE]",
		Short:   "Find objects whose inodes have numbers that are equal in 32 bits",
		Example: "  ostree-ext provisional-repair analyze-inodes --repo=repo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := repoPath(path)
			if err != nil {
				return err
			}
			inodes, err := a.analyzeInodes(cmd.Context(), path, f.verbose)
			if err != nil {
				return err
			}
			if n := len(inodes.Collisions); n > 0 {
				fmt.Fprintf(a.err, "warning: %d potentially colliding inodes found\n", n)
			} else if err := a.printf("OK: No colliding objects found.\n"); err != nil {
				return err
			}
			data, err := inodes.JSON()
			return f.write(cmd.Context(), data, err)
		},
	}
	repoFlag(c, &path)
	f.add(c)
	return c
}

// analyzeInodes prints what is done, and does it.
func (a *app) analyzeInodes(ctx context.Context, path string, verbose bool) (*inodecheck.Inodes, error) {
	if err := a.printf("%sGathering inodes for ostree objects...\n", inodeIntroduction); err != nil {
		return nil, err
	}
	inodes, err := inodecheck.Analyze(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", path, err)
	}
	if verbose {
		for _, p := range inodes.Pairs {
			fmt.Fprintf(a.err, "collision:\n  inode (>32 bit): %d\n  object: %s\n  inode (truncated): %d\n  object: %s\n",
				p.Inode, p.Large, p.Truncated, p.Small)
		}
	}
	return inodes, nil
}

func newInodeRepairCommand(a *app) *cobra.Command {
	var root string
	var dry bool
	var f inodeFlags
	c := &cobra.Command{
		Use:   "repair --sysroot=DIR [--dry-run] [--verbose] [--write-result-to=FILE]",
		Short: "Remove stored images whose merge commits are likely to be wrong",
		Long: `If inodes of objects have numbers that could be taken for each other, compares each stored image with its
layers, and removes those that have other files. The next pull makes them again. Unlike upstream's, it
knows which files a layer replaces or hides, so these do not count as damage.`,
		Example: "  ostree-ext provisional-repair repair --sysroot=/ --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.remount(cmd.Context(), root); err != nil {
				return err
			}
			if err := ensureWritable(root); err != nil {
				return err
			}
			path := filepath.Join(root, "ostree/repo")
			return withRepo(path, func(r *repo.Repo) error { return a.repairInodes(cmd.Context(), r, root, dry, &f) })
		},
	}
	c.Flags().StringVar(&root, "sysroot", "", "`DIR` of the root filesystem")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say which images would be removed")
	f.add(c)
	required(c, "sysroot")
	return c
}

// remount makes the root filesystem of the host writable, in a container of podman. Upstream's program does so even if
// it is writable.
func (a *app) remount(ctx context.Context, root string) error {
	if _, err := os.Lstat("/run/.containerenv"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !readOnly(root) {
		return nil
	}
	if err := a.printf("Running in container, assuming we can remount %s writable\n", root); err != nil {
		return err
	}
	mount, err := hosttool.Find("mount", "util-linux")
	if err != nil {
		return err
	}
	_, err = hosttool.Run(ctx, mount, "-o", "remount,rw", root)
	return err
}

// repairInodes checks the images of a host, and removes those that are likely to be wrong.
func (a *app) repairInodes(ctx context.Context, r *repo.Repo, root string, dry bool, f *inodeFlags) error {
	res, err := a.checkInodes(ctx, r, root, f.verbose)
	if err != nil {
		return err
	}
	data, err := res.JSON()
	if err := f.write(ctx, data, err); err != nil {
		return err
	}
	switch n := len(res.Images); {
	case n == 0:
		return a.printf("OK no corruption found\n")
	case dry:
		return fmt.Errorf("Found corruption in images: %d", n) //nolint:staticcheck // upstream's text
	}
	return inodecheck.Flush(ctx, r, res, func(ref imgref.ImageReference) {
		fmt.Fprintln(a.err, printable.Line("Flushing cached state for corrupted merged image: "+ref.String()))
	})
}

func (a *app) checkInodes(ctx context.Context, r *repo.Repo, root string, verbose bool) (*inodecheck.Result, error) {
	inodes, err := a.analyzeInodes(ctx, r.Path(), verbose)
	if err != nil {
		return nil, err
	}
	err = a.printf("ostree inode check:\n  64bit inodes: %d\n  32 bit inodes: %d\n  collisions: %d\n\n",
		inodes.Large, inodes.Small, len(inodes.Collisions))
	if err != nil {
		return nil, err
	}
	if len(inodes.Collisions) == 0 {
		return &inodecheck.Result{Inodes: inodes, Images: []string{}}, a.printf("OK no colliding inodes found\n")
	}
	return a.checkImages(ctx, r, root, inodes, verbose)
}

func (a *app) checkImages(
	ctx context.Context, r *repo.Repo, root string, inodes *inodecheck.Inodes, verbose bool,
) (*inodecheck.Result, error) {
	deployed, err := inodecheck.DeployedIn(root)
	if err != nil {
		return nil, err
	}
	images, err := store.List(r)
	if err != nil {
		return nil, err
	}
	if err := a.printf("Verifying ostree-container images: %d\n", len(images)); err != nil {
		return nil, err
	}
	res, err := inodecheck.Check(ctx, r, inodes, deployed, func(i *inodecheck.Image) error {
		return a.printInodeImage(i, verbose)
	})
	if err != nil {
		return nil, err
	}
	if res.Booted {
		fmt.Fprintln(a.err, "warning: booted deployment is likely corrupted")
	}
	if res.Staged {
		fmt.Fprintln(a.err, "warning: staged deployment is likely corrupted")
	}
	return res, nil
}

// printInodeImage prints the check of one image in upstream's words.
func (a *app) printInodeImage(i *inodecheck.Image, verbose bool) error {
	err := a.printf("Verifying with base ostree layer %s\nImage has %d derived layers\n", i.Base, i.Derived)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { fmt.Fprintln(a.err, printable.Line(fmt.Sprintf(format, args...))) }
	for _, p := range i.Missing {
		say("Missing %s", p)
	}
	if !i.Corrupt() {
		return a.printf("OK image %s (verified=%d)\n\n", i.Ref, i.Files)
	}
	say("warning: Found corrupted merge commit")
	say("  inode clashes: %d", len(i.Clashes))
	say("  unknown:       %d", len(i.Unknown))
	say("  ok:            %d", i.Files)
	if verbose {
		say("Mismatches:")
		for _, p := range i.Clashes {
			say("  inode: %s", p)
		}
		for _, p := range i.Unknown {
			say("  other: %s", p)
		}
	}
	say("warning: Corrupted image %s", i.Ref)
	return nil
}
