package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
	"github.com/ostree-ext/ostree-ext-go/tarfmt"
)

func newTarCommand(a *app) *cobra.Command {
	return group("tar", "Commits as tar streams", newTarExportCommand(a), newTarImportCommand(a))
}

func newTarExportCommand(a *app) *cobra.Command {
	var repoPath string
	var formatVersion uint32
	c := &cobra.Command{
		Use:   "export --repo=REPO REV",
		Short: "Write a commit to standard output as a tar stream",
		Long: `Writes the commit and all its objects as an uncompressed tar stream, which 'tar import' reads. The
bytes depend only on the commit.`,
		Example: "  ostree-ext tar export --repo=repo exampleos/x86_64/stable | zstd > os.tar.zst",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if isTerminal(a.out) {
				return usagef("standard output is a terminal: send the stream to a file or a program")
			}
			return withRepo(repoPath, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				w := bufio.NewWriterSize(a.out, 256<<10)
				if err := tarfmt.ExportCommit(cmd.Context(), w, r, rev); err != nil {
					return fmt.Errorf("exporting commit %s: %w", rev, err)
				}
				if err := w.Flush(); err != nil {
					return fmt.Errorf("exporting commit %s: %w", rev, err)
				}
				return nil
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().Uint32Var(&formatVersion, "format-version", 1,
		"`N`, accepted for compatibility with upstream; there is only one format")
	_ = c.Flags().MarkHidden("format-version")
	return c
}

func newTarImportCommand(a *app) *cobra.Command {
	var repoPath, ref string
	var asJSON bool
	c := &cobra.Command{
		Use:   "import --repo=REPO [FILE]",
		Short: "Read a commit from a tar stream",
		Long: `Reads the stream of 'tar export' from FILE or from standard input, and stores the commit. Without
--write-ref nothing refers to the commit, and a prune deletes it.`,
		Example: `  zstd -dc os.tar.zst | ostree-ext tar import --repo=repo --write-ref=exampleos/x86_64/stable
  ostree-ext tar import --repo=repo os.tar`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWriteRef(cmd, ref); err != nil {
				return err
			}
			in, name := a.in, "standard input"
			if len(args) == 1 && args[0] != "-" {
				f, err := ctxio.Open(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in, name = f, args[0]
			}
			return withRepo(repoPath, func(r *repo.Repo) error {
				rev, err := importTar(cmd, r, in, name, ref)
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(imported{Commit: rev.String(), Ref: ref})
				}
				return a.printImported(rev, ref)
			})
		},
	}
	repoFlag(c, &repoPath)
	c.Flags().StringVar(&ref, "write-ref", "", "`REF` to set to the commit")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func importTar(cmd *cobra.Command, r *repo.Repo, in io.Reader, name, ref string) (object.Checksum, error) {
	ctx := cmd.Context()
	txn, err := r.Begin(ctx)
	if err != nil {
		return object.Checksum{}, err
	}
	defer txn.Abort()
	rev, err := tarfmt.ImportCommit(ctx, txn, bufio.NewReaderSize(in, 256<<10), tarfmt.ImportOptions{})
	if err != nil {
		return object.Checksum{}, fmt.Errorf("reading the tar stream in %s: %w", name, err)
	}
	if err := txn.Complete(ctx, rev, ref); err != nil {
		if missing := (*repo.IncompleteError)(nil); errors.As(err, &missing) {
			err = fmt.Errorf("the stream does not hold all of commit %s: %w", rev, err)
		}
		return object.Checksum{}, err
	}
	if _, err := txn.Commit(ctx); err != nil {
		return object.Checksum{}, err
	}
	return rev, nil
}

// imported is the result of a command that imports a commit.
type imported struct {
	Commit string `json:"commit"`
	Ref    string `json:"ref,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// printImported prints upstream's line.
func (a *app) printImported(rev object.Checksum, ref string) error {
	if ref == "" {
		return a.printf("Imported: %s\n", rev)
	}
	return a.printf("Imported: %s => %s\n", ref, rev)
}
