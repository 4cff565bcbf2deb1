package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

func newRepoShowCommand(a *app) *cobra.Command {
	var path, key, detachedKey string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show --repo=REPO REV",
		Short: "Print a commit",
		Example: `  ostree-ext repo show --repo=repo exampleos/x86_64/stable
  ostree-ext repo show --repo=repo --print-metadata-key=version exampleos/x86_64/stable`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRepo(path, func(r *repo.Repo) error {
				rev, err := r.ResolveRev(args[0])
				if err != nil {
					return err
				}
				commit, err := repo.LoadCommit(cmd.Context(), r, rev)
				if err != nil {
					return err
				}
				detached, err := repo.LoadDetachedMetadata(cmd.Context(), r, rev)
				if err != nil {
					return err
				}
				switch {
				case key != "":
					return a.printKey("metadata", commit.Metadata, key)
				case detachedKey != "":
					return a.printKey("detached metadata", detached, detachedKey)
				case asJSON:
					return a.printJSON(shownCommit(rev, commit, detached))
				}
				return a.printf("%s", commitText(rev, commit, detached))
			})
		},
	}
	repoFlag(c, &path)
	c.Flags().StringVar(&key, "print-metadata-key", "", "print only the value of `KEY`")
	c.Flags().StringVar(&detachedKey, "print-detached-metadata-key", "",
		"print only the value of `KEY` of the detached metadata")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	c.MarkFlagsMutuallyExclusive("print-metadata-key", "print-detached-metadata-key", "json")
	return c
}

func (a *app) printKey(what string, d gvariant.Dict, key string) error {
	v, ok := d.Lookup(key)
	if !ok {
		return fmt.Errorf("no such %s key: %s", what, key)
	}
	return a.printf("%s\n", v)
}

// commitText returns a commit as text. Integers in the metadata are printed as the little-endian numbers that they are.
func commitText(rev object.Checksum, c *object.Commit, detached gvariant.Dict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "commit %s\n", rev)
	if !c.Parent.IsZero() {
		fmt.Fprintf(&b, "Parent:          %s\n", c.Parent)
	}
	fmt.Fprintf(&b, "ContentChecksum: %s\n", c.ContentChecksum())
	fmt.Fprintf(&b, "Date:            %s\n", c.Time().Format("2006-01-02 15:04:05 +0000"))
	for _, e := range c.Metadata {
		fmt.Fprintf(&b, "%-16s %s\n", e.Key+":", e.Value)
	}
	for _, e := range detached {
		fmt.Fprintf(&b, "%-16s %s\n", "(detached) "+e.Key+":", e.Value)
	}
	for _, text := range []string{c.Subject, c.Body} {
		if text != "" {
			fmt.Fprintf(&b, "\n    %s\n", strings.ReplaceAll(text, "\n", "\n    "))
		}
	}
	return b.String()
}

// shown is a commit as JSON. Metadata values are in GVariant's text notation, which keeps their types.
type shown struct {
	Commit          string            `json:"commit"`
	Parent          string            `json:"parent,omitempty"`
	ContentChecksum string            `json:"contentChecksum"`
	Timestamp       uint64            `json:"timestamp"`
	Subject         string            `json:"subject"`
	Body            string            `json:"body"`
	Metadata        map[string]string `json:"metadata"`
	Detached        map[string]string `json:"detachedMetadata,omitempty"`
}

func shownCommit(rev object.Checksum, c *object.Commit, detached gvariant.Dict) shown {
	texts := func(d gvariant.Dict) map[string]string {
		m := make(map[string]string, len(d))
		for _, e := range d {
			m[e.Key] = e.Value.String()
		}
		return m
	}
	s := shown{
		Commit: rev.String(), ContentChecksum: c.ContentChecksum().String(), Timestamp: c.Timestamp,
		Subject: c.Subject, Body: c.Body, Metadata: texts(c.Metadata), Detached: texts(detached),
	}
	if !c.Parent.IsZero() {
		s.Parent = c.Parent.String()
	}
	return s
}
