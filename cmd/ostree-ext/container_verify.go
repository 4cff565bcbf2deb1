package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container"
	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

func newVerifyCommand(a *app) *cobra.Command {
	var asJSON bool
	var fetch source.Options
	c := &cobra.Command{
		Use:   "verify IMGREF",
		Short: "Check that hosts can import an image",
		Long: `Reads all of an image and checks that digests, sizes, diff-ids and labels agree and that everything
can be imported: an image of a commit must yield that commit, complete; the layers of other images must
unpack. This finds images that were converted after they were made, as BuildKit does with
force-compression=true,compression=estargz.

Each problem is printed on a line, and the exit status is 1 if there are any. The objects of a commit
are stored in a directory below $TMPDIR until the command ends. Signatures are not checked.`,
		Example: `  ostree-ext container verify docker://registry.example/os:latest
  ostree-ext container verify --json oci:layout:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			image, err := openImage(cmd.Context(), "<IMGREF>", args[0], fetch)
			if err != nil {
				return err
			}
			show := a.newProgress()
			v, err := container.Check(cmd.Context(), image, container.CheckOptions{Progress: show.event})
			show.stop()
			if err := errors.Join(err, image.Close()); err != nil {
				return err
			}
			if asJSON {
				if err := a.printJSON(v); err != nil {
					return err
				}
			} else if err := a.printf("%s", describeVerification(v)); err != nil {
				return err
			}
			if n := len(v.Problems); n > 0 {
				return fmt.Errorf("%s does not hold what it says: %d problems", image.Name, n)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	return c
}

// describeVerification returns the result as text.
func describeVerification(v *container.Findings) string {
	var b strings.Builder
	for _, p := range v.Problems {
		fmt.Fprintln(&b, printable.Line(p))
	}
	if len(v.Problems) > 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "%s: %s", v.Digest, sizes.Count(v.Layers, "layer"))
	if v.Derived > 0 {
		fmt.Fprintf(&b, ", %d of them on top of the commit's", v.Derived)
	}
	if v.Commit != "" {
		fmt.Fprintf(&b, ", commit %s", v.Commit)
	}
	fmt.Fprintln(&b, ": ok")
	return b.String()
}
