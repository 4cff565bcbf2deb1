package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// commitFlags are the values of the options.
type commitFlags struct {
	repo, branch, parent, base, subject, body, timestamp string
	strings, values, detached, bindRefs                  []string
	skipList, statOverride                               string
	ownerUID, ownerGID                                   int64
	orphan, bootable, noBindings, skipIfUnchanged        bool
	canonical, noXattrs, readOnlyExecutables, asJSON     bool
}

func newRepoCommitCommand(a *app) *cobra.Command {
	var f commitFlags
	c := &cobra.Command{
		Use:   "commit --repo=REPO (--branch=REF | --orphan) DIR...",
		Short: "Commit directories as one tree",
		Long: `Commits the content of DIR and prints the commit. Several directories are merged; files of later ones
replace those of earlier ones. Owners, modes and extended attributes are kept. The directories may
contain only regular files, symlinks and directories.

The time of the commit is --timestamp, or else SOURCE_DATE_EPOCH, or else the current time. With equal
time, options and input, the commit is the same as that of 'ostree commit'.`,
		Example: `  ostree-ext repo commit --repo=repo --branch=exampleos/x86_64/stable --bootable \
      --add-metadata-string=version=42.0 rootfs/
  ostree-ext repo commit --repo=repo --branch=app --owner-uid=0 --owner-gid=0 app/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (f.branch == "") == !f.orphan {
				return usagef("give either --branch or --orphan")
			}
			if f.branch != "" {
				if err := checkRefArgument(f.branch); err != nil {
					return usagef("invalid value '%s' for '--branch': %w", f.branch, err)
				}
			}
			path, err := repoPath(f.repo)
			if err != nil {
				return err
			}
			return withRepo(f.repo, func(r *repo.Repo) error {
				rev, stats, err := f.commit(cmd.Context(), r, args)
				if ordinaryTree(err) {
					return fmt.Errorf("%w; 'ostree-ext container build --format=ostree --rootfs=%s --repo=%s IMGREF' commits an "+
						"ordinary root filesystem as that of an operating system", err, args[0], path)
				}
				if err != nil {
					return err
				}
				if f.asJSON {
					return a.printJSON(committed{rev.String(), f.branch, stats.MetadataWritten, stats.ContentWritten,
						stats.ContentBytes})
				}
				return a.printf("%s\n", rev)
			})
		},
	}
	repoFlag(c, &f.repo)
	fs := c.Flags()
	fs.StringVarP(&f.branch, "branch", "b", "", "`REF` to set to the commit")
	fs.BoolVar(&f.orphan, "orphan", false, "set no ref")
	fs.StringVar(&f.parent, "parent", "", "`COMMIT` that is the parent, or none (default: the commit of the branch)")
	fs.StringVar(&f.base, "base", "", "`REV` whose tree the directories are added to")
	fs.StringVarP(&f.subject, "subject", "s", "", "`LINE` about the commit")
	fs.StringVar(&f.body, "body", "", "`TEXT` with more about the commit")
	fs.StringVar(&f.timestamp, "timestamp", "", "`TIME` of the commit: @SECONDS or RFC 3339")
	fs.StringArrayVar(&f.strings, "add-metadata-string", nil, "`KEY=VALUE` to add to the metadata")
	fs.StringArrayVar(&f.values, "add-metadata", nil, "`KEY=VALUE` to add to the metadata, in GVariant's text notation")
	fs.StringArrayVar(&f.detached, "add-detached-metadata-string", nil, "`KEY=VALUE` to add to the detached metadata")
	fs.StringArrayVar(&f.bindRefs, "bind-ref", nil, "`REF` besides the branch that the commit may be found under")
	fs.BoolVar(&f.noBindings, "no-bindings", false, "do not record in the commit which refs it belongs to")
	fs.BoolVar(&f.bootable, "bootable", false, "mark the commit bootable, with the version of the kernel in it")
	fs.BoolVar(&f.skipIfUnchanged, "skip-if-unchanged", false,
		"make no commit if the tree is the parent's; print the parent")
	fs.StringVar(&f.skipList, "skip-list", "", "`FILE` with paths to leave out, one per line")
	fs.StringVar(&f.statOverride, "statoverride", "", "`FILE` with modes: lines of [+|=]BITS PATH, BITS in decimal")
	fs.Int64Var(&f.ownerUID, "owner-uid", -1, "`UID` that owns everything (default: that of each file)")
	fs.Int64Var(&f.ownerGID, "owner-gid", -1, "`GID` that owns everything (default: that of each file)")
	fs.BoolVar(&f.canonical, "canonical-permissions", false,
		"make everything root's, with mode 0755 at most, without xattrs")
	fs.BoolVar(&f.noXattrs, "no-xattrs", false, "leave extended attributes out")
	fs.BoolVar(&f.readOnlyExecutables, "mode-ro-executables", false, "clear the write bits of executable files")
	fs.BoolVar(&f.asJSON, "json", false, "print a JSON object")
	fs.Lookup("owner-uid").DefValue, fs.Lookup("owner-gid").DefValue = "", "" // -1 is not a value to give
	c.MarkFlagsMutuallyExclusive("bind-ref", "no-bindings")
	return c
}

// ordinaryTree reports whether an error is about a tree that is not prepared for a commit.
func ordinaryTree(err error) bool {
	return errors.Is(err, repo.ErrNoKernel) || errors.Is(err, repo.ErrSpecialFile)
}

// committed is the result of a commit.
type committed struct {
	Commit          string `json:"commit"`
	Ref             string `json:"ref,omitempty"`
	MetadataWritten int    `json:"metadataWritten"`
	ContentWritten  int    `json:"contentWritten"`
	ContentBytes    int64  `json:"contentBytes"`
}

func (f *commitFlags) commit(ctx context.Context, r *repo.Repo, dirs []string) (object.Checksum, repo.Stats, error) {
	var none repo.Stats
	opts, err := f.treeOptions(ctx)
	if err != nil {
		return object.Checksum{}, none, err
	}
	c := &object.Commit{Subject: f.subject, Body: f.body}
	if c.Timestamp, err = commitTime(f.timestamp); err != nil {
		return object.Checksum{}, none, err
	}
	if c.Parent, err = f.resolveParent(r); err != nil {
		return object.Checksum{}, none, err
	}
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, none, err
	}
	defer txn.Abort()
	if err := f.writeTree(ctx, r, txn, c, dirs, opts); err != nil {
		return object.Checksum{}, none, err
	}
	if f.skipIfUnchanged && !c.Parent.IsZero() {
		old, err := repo.LoadCommit(ctx, r, c.Parent)
		if err != nil {
			return object.Checksum{}, none, err
		}
		if old.Tree == c.Tree && old.Meta == c.Meta {
			return c.Parent, none, nil
		}
	}
	if c.Metadata, err = f.metadata(ctx, txn, r, c); err != nil {
		return object.Checksum{}, none, err
	}
	rev, err := txn.WriteCommit(ctx, c)
	if err != nil {
		return rev, none, err
	}
	if len(f.detached) > 0 {
		var d gvariant.Dict
		if d, err = addStrings(d, f.detached); err != nil {
			return rev, none, err
		}
		if err := txn.WriteDetachedMetadata(ctx, rev, d.Encode()); err != nil {
			return rev, none, err
		}
	}
	if f.branch != "" {
		if err := txn.SetRef(f.branch, rev); err != nil {
			return rev, none, err
		}
	}
	stats, err := txn.Commit(ctx)
	return rev, stats, err
}

func (f *commitFlags) writeTree(
	ctx context.Context, r *repo.Repo, txn *repo.Txn, c *object.Commit, dirs []string, opts repo.TreeOptions,
) error {
	tree := repo.NewMutableTree()
	if f.base != "" {
		base, err := r.ResolveRev(f.base)
		if err != nil {
			return fmt.Errorf("--base: %w", err)
		}
		if tree, err = repo.TreeFromCommit(ctx, r, base); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := txn.AddDirectory(ctx, tree, dir, opts); err != nil {
			return err
		}
	}
	if opts.Overrides != nil {
		if left := opts.Overrides.Unmatched(); len(left) > 0 {
			return fmt.Errorf("%s names paths that do not exist: %s", f.statOverride, strings.Join(left, ", "))
		}
	}
	if opts.Skip != nil {
		if left := opts.Skip.Unmatched(); len(left) > 0 {
			return fmt.Errorf("%s names paths that do not exist: %s", f.skipList, strings.Join(left, ", "))
		}
	}
	var err error
	c.Tree, c.Meta, err = tree.WriteTo(ctx, txn)
	return err
}

func (f *commitFlags) treeOptions(ctx context.Context) (o repo.TreeOptions, err error) {
	o = repo.TreeOptions{CanonicalPermissions: f.canonical, NoXattrs: f.noXattrs,
		ReadOnlyExecutables: f.readOnlyExecutables}
	for _, id := range []struct {
		flag int64
		to   **uint32
	}{{f.ownerUID, &o.OwnerUID}, {f.ownerGID, &o.OwnerGID}} {
		if id.flag > math.MaxUint32 || id.flag < -1 {
			return o, usagef("--owner-uid or --owner-gid: %d is not a user or group ID", id.flag)
		}
		if id.flag >= 0 {
			n := uint32(id.flag)
			*id.to = &n
		}
	}
	read := func(flag, name string, parse func(io.Reader) error) error {
		if name == "" {
			return nil
		}
		file, err := ctxio.Open(ctx, name)
		if err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		defer file.Close()
		if err := parse(file); err != nil {
			return fmt.Errorf("--%s: %s: %w", flag, name, err)
		}
		return nil
	}
	return o, errors.Join(
		read("skip-list", f.skipList, func(r io.Reader) (err error) { o.Skip, err = repo.ParseSkipList(r); return err }),
		read("statoverride", f.statOverride, func(r io.Reader) (err error) {
			o.Overrides, err = repo.ParseStatOverrides(r)
			return err
		}),
	)
}

func (f *commitFlags) resolveParent(r *repo.Repo) (object.Checksum, error) {
	switch {
	case f.parent == "none":
		return object.Checksum{}, nil
	case f.parent != "":
		rev, err := r.ResolveRev(f.parent)
		if err != nil {
			return rev, fmt.Errorf("--parent: %w", err)
		}
		return rev, nil
	case f.orphan:
		return object.Checksum{}, nil
	}
	rev, err := r.ResolveRef(f.branch)
	if errors.Is(err, repo.ErrRefNotFound) {
		return object.Checksum{}, nil
	}
	return rev, err
}

// metadata returns the commit's metadata, in the order of the ostree program.
func (f *commitFlags) metadata(
	ctx context.Context, src repo.Source, r *repo.Repo, c *object.Commit,
) (gvariant.Dict, error) {
	d, err := addStrings(nil, f.strings)
	if err != nil {
		return nil, err
	}
	for _, arg := range f.values {
		k, text, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("missing '=' in metadata %s", arg)
		}
		v, err := gvariant.ParseText(text)
		if err != nil {
			return nil, usagef("metadata %s: %w", k, err)
		}
		d = d.Set(k, v)
	}
	if !f.noBindings {
		var refs []string
		if f.branch != "" {
			refs = append(refs, f.branch)
		}
		refs = append(refs, f.bindRefs...)
		collection, _ := r.Config().Get("core", "collection-id")
		d = repo.BindRefs(d, refs, collection)
	}
	if f.bootable {
		kernel, err := repo.FindKernel(ctx, src, c.Tree)
		if err != nil {
			return nil, err
		}
		d = repo.MarkBootable(d, kernel)
	}
	return d, nil
}

func addStrings(d gvariant.Dict, args []string) (gvariant.Dict, error) {
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok || k == "" {
			return nil, usagef("metadata %s is not KEY=VALUE", arg)
		}
		d = d.Set(k, gvariant.String(v))
	}
	return d, nil
}

// commitTime returns the time of a commit: the option's, or else that of SOURCE_DATE_EPOCH, or else the current time.
func commitTime(option string) (uint64, error) {
	if option == "" {
		if option = os.Getenv("SOURCE_DATE_EPOCH"); option == "" {
			return uint64(time.Now().Unix()), nil
		}
		t, err := repo.SourceDateEpoch(option)
		return uint64(t.Unix()), err
	}
	if secs, ok := strings.CutPrefix(option, "@"); ok {
		n, err := strconv.ParseUint(secs, 10, 63)
		if err != nil {
			return 0, usagef("timestamp %q is not a number of seconds", option)
		}
		return n, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", "2006-01-02"} {
		if t, err := time.Parse(layout, option); err == nil && t.Unix() >= 0 {
			return uint64(t.Unix()), nil
		}
	}
	return 0, usagef("timestamp %q is neither @SECONDS nor a time like 2026-01-02T03:04:05Z", option)
}
