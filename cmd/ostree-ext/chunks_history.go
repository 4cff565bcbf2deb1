package main

import (
	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/container/source"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/report"
)

func newChunksHistoryCommand(a *app) *cobra.Command {
	var fetch source.Options
	var out form
	c := &cobra.Command{
		Use:   "history IMGREF IMGREF...",
		Short: "Show what each update of a series of images downloads",
		Long: `Compares each image with the next one, and prints what a host downloads that updates from one to the
other, with the largest causes. Give the oldest image first. Only manifests and configurations are
read.`,
		Example: `  ostree-ext chunks history docker://registry.example/os:1 docker://registry.example/os:2
  ostree-ext chunks history oci:layout:old oci:layout:new oci:layout:latest --html=history.html`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.checkFetch(cmd.Flags(), &fetch.Registry, args...); err != nil {
				return err
			}
			for _, arg := range args {
				if _, err := parseEitherReference("<IMGREF>", arg); err != nil {
					return err
				}
			}
			var images []*oci.Image
			for _, arg := range args {
				// What is compared stays in memory after an image was closed.
				err := withImage(cmd.Context(), "<IMGREF>", arg, fetch, func(image *oci.Image) error {
					images = append(images, image)
					return nil
				})
				if err != nil {
					return err
				}
			}
			return a.printReport(cmd.Context(), report.NewHistory(images), out)
		},
	}
	fetchFlags(a, c.Flags(), &fetch.Registry)
	trustFlags(c.Flags(), &fetch)
	out.add(c.Flags(), true)
	c.MarkFlagsMutuallyExclusive("json", "html")
	return c
}
