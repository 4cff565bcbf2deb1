package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newManCommand(a *app, root *cobra.Command) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "man --directory=DIR",
		Short: "Write the manual pages",
		Long: `Writes one manual page per command into DIR. The pages have the same text as --help. Their date is
SOURCE_DATE_EPOCH, or 1970-01-01, so that two runs give the same bytes.`,
		Example: "  ostree-ext man --directory=man",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			var date time.Time
			if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
				secs, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
				}
				date = time.Unix(secs, 0).UTC()
			} else {
				date = time.Unix(0, 0).UTC()
			}
			return doc.GenManTree(root, &doc.GenManHeader{
				Section: "1", Source: "ostree-ext", Manual: "ostree-ext manual", Date: &date,
			}, dir)
		},
	}
	c.Flags().StringVar(&dir, "directory", "", "`DIR` to write the pages to; it is created if necessary")
	required(c, "directory")
	return c
}
