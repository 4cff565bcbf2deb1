package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/buildroot"
)

func newContainerCommitCommand(_ *app) *cobra.Command {
	root := "/"
	c := &cobra.Command{
		Use:   "commit [--root=DIR]",
		Short: "Remove temporary files at the end of a build on the image of a commit",
		Long: `Removes the content of /run, /tmp, /var/tmp and /var/cache, in a container whose image is that of an
OSTree commit. Other filesystems and mount points in these directories stay. Other content of /var stays
too. Elsewhere the command fails and removes nothing.`,
		Example: `  RUN dnf -y install tmux && ostree-ext container commit`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := os.Stat(root); err != nil {
				return fmt.Errorf("--root: %w", err)
			}
			return buildroot.Commit(cmd.Context(), root, os.LookupEnv)
		},
	}
	c.Flags().StringVar(&root, "root", root, "`DIR` with the root of the container")
	return c
}
