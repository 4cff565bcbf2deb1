package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// sysrootFlag adds --sysroot. The default is OSTREE_SYSROOT, as for the ostree program, and then the root directory.
func sysrootFlag(fs *pflag.FlagSet, path *string) {
	fs.StringVar(path, "sysroot", "", "`DIR` of the system, with its deployments and its repository "+
		"(default: $OSTREE_SYSROOT, else /)")
}

// sysrootPath returns the sysroot that the option or the environment names.
func sysrootPath(flag string) string {
	if flag == "" {
		flag = os.Getenv("OSTREE_SYSROOT")
	}
	if flag == "" {
		flag = "/"
	}
	return flag
}

func newImageStatusCommand(a *app) *cobra.Command {
	var root string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [--sysroot=DIR]",
		Short: "Say which image a host runs, and which it boots next",
		Long: `Lists the deployments in the order of the boot menu, after the one that is staged for the next boot:
where each comes from, its version, and the update that was found for it. Nothing is fetched. Root is
needed only where /boot is closed to others.`,
		Example: `  ostree-ext container image status
  ostree-ext container image status --sysroot=/mnt --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := deploy.ReadStatus(cmd.Context(), sysroot.Host{}, sysrootPath(root))
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(st)
			}
			return a.printf("%s", statusText(st))
		},
	}
	sysrootFlag(c.Flags(), &root)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// statusText returns a status as text: a paragraph for each deployment.
func statusText(st *deploy.Status) string {
	var b strings.Builder
	for _, d := range st.Deployments {
		b.WriteString(deploymentText(&d))
		b.WriteByte('\n')
	}
	if len(st.Deployments) == 0 {
		b.WriteString("No deployments.\n")
	}
	fmt.Fprintf(&b, "Free in /boot: %s\n", sizes.Format(st.BootFree))
	return b.String()
}

func deploymentText(d *deploy.DeploymentStatus) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		if name != "" {
			name += ":"
		}
		fmt.Fprintf(&b, "  %-10s "+format+"\n", append([]any{name}, args...)...)
	}
	from := d.Image
	if from == "" {
		from = d.Refspec
	}
	if from == "" {
		from = "(no origin)"
	}
	fmt.Fprintf(&b, "%s%s: %s\n", strings.ToUpper(d.State[:1]), d.State[1:], from)
	if d.Version != "" {
		line("Version", "%s", d.Version)
	}
	if !d.Created.IsZero() {
		line("Created", "%s", d.Created.Format(time.RFC3339))
	}
	if d.Digest != "" {
		line("Digest", "%s", d.Digest)
	}
	for _, sig := range d.Signatures {
		line("Signed by", "%s", printable.Line(sig.String()))
	}
	line("Commit", "%s", d.Commit)
	line("Stateroot", "%s, deployment %d", d.Stateroot, d.Index)
	if d.Pinned {
		line("Pinned", "yes")
	}
	if d.Locked {
		line("Locked", "yes, held back until it is unlocked")
	}
	if u := d.Update; u != nil {
		version := ""
		if u.Version != "" {
			version = u.Version + ", "
		}
		line("Update", "%s%s, %s of layers that this image does not have", version, u.Digest, sizes.Format(u.BytesAdded))
		for _, sig := range u.Signatures {
			line("", "signed by %s", printable.Line(sig.String()))
		}
	}
	return b.String()
}
