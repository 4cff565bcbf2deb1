package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/container/deploy"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/object"
)

// puller pretends to pull: it records what it is asked for and returns a commit that the repository has.
type puller struct {
	commit object.Checksum
	err    error
	calls  int
	from   imgref.OstreeImageReference
	opts   pullOptions
}

func (p *puller) pull(
	_ context.Context, _ *app, _ *repo.Repo, from imgref.OstreeImageReference, opts pullOptions,
) (object.Checksum, error) {
	p.calls++
	p.from, p.opts = from, opts
	return p.commit, p.err
}

// runDeploy runs the command with a puller and returns its output and its error.
func runDeploy(t *testing.T, p *puller, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{streams: streams{out: &out, err: &errs}}
	c := newImageDeployCommand(a, p.pull)
	strict(c)
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestDeployPassesItsOptionsToThePull(t *testing.T) {
	t.Parallel()
	root, commits := makeImageHost(t)
	const signed = "ostree-image-signed:docker://registry.example/os:latest"
	for _, c := range []struct {
		name, args   string
		from, target string
		noRef        bool
	}{
		{"a reference", "--imgref=" + signed, signed, signed, false},
		{"a name", "--image=registry.example/os --allow-unverified", "ostree-unverified-registry:registry.example/os",
			"ostree-unverified-registry:registry.example/os", false},
		{"a name with a transport", "--transport=oci --image=/x --no-signature-verification --allow-unverified",
			"ostree-unverified-image:oci:/x", "ostree-unverified-image:oci:/x", false},
		{"a name with the policy", "--image=registry.example/os --enforce-container-sigpolicy",
			"ostree-image-signed:docker://registry.example/os", "ostree-image-signed:docker://registry.example/os", false},
		{"a name with a remote", "--image=registry.example/os --enforce-container-sigpolicy --ostree-remote=vendor",
			"ostree-remote-image:vendor:docker://registry.example/os", "ostree-remote-image:vendor:docker://registry.example/os",
			false},
		{"a name goes before a reference", "--image=registry.example/os --imgref=" + signed + " --allow-unverified",
			"ostree-unverified-registry:registry.example/os", "ostree-unverified-registry:registry.example/os", false},
		{"another target", "--imgref=ostree-unverified-image:oci:/x --no-imgref --target-imgref=" + signed,
			"ostree-unverified-image:oci:/x", signed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &puller{commit: commits[0]}
			args := append(strings.Fields(c.args), "--sysroot="+root, "--dry-run", "--auth-anonymous", "--cert-dir=certs")
			if _, err := runDeploy(t, p, args...); err != nil {
				t.Fatal(err)
			}
			if p.from.String() != c.from || p.opts.Target.String() != c.target || p.opts.NoRef != c.noRef ||
				!p.opts.StoredOnly || !p.opts.Registry.Anonymous || p.opts.Registry.CertDir != "certs" {
				t.Errorf("got %s and %+v", p.from, p.opts)
			}
			if err := p.opts.CheckRoom(1 << 20); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDeployRefusesArgumentsBeforeThePull(t *testing.T) {
	t.Parallel()
	root, commits := makeImageHost(t)
	const unverified = "--imgref=ostree-unverified-registry:registry.example/os"
	for _, c := range []struct {
		args, says string
		usage      bool
	}{
		{"", "missing --imgref or --image", true},
		{"--imgref=registry:x", "invalid value 'registry:x' for '<OSTREEIMGREF>'", true},
		{"--image=x --transport=odd", "invalid value 'odd' for '--transport'", true},
		{"--image=x --ostree-remote=vendor", "--ostree-remote needs --enforce-container-sigpolicy", true},
		{"--image=x --enforce-container-sigpolicy --no-signature-verification", "choose one", true},
		{unverified + " --enforce-container-sigpolicy", "go with --image", true},
		{unverified + " --ostree-remote=vendor", "go with --image", true},
		{unverified + " --transport=oci", "--transport goes with --image", true},
		{unverified + " --stage --no-stage", "choose one", true},
		{unverified + " --download-only --dry-run", "choose one", true},
		{unverified + " --download-only --json", "choose one", true},
		{unverified + " --auth-anonymous --authfile=x", "choose one", true},
		{unverified + " --target-imgref=x", "invalid value 'x'", true},
		{unverified + " operand", "unexpected argument: operand", true},
		{unverified, "os:latest, which is verified, and ostree-unverified-registry:registry.example/os would not be: " +
			"name an image with ostree-image-signed: or ostree-remote-image:, or give --allow-unverified", false},
		{unverified + " --stateroot=new", "ostree admin os-init new --sysroot=" + root, false},
		{unverified + " --allow-unverified --karg=ostree=x", "libostree sets ostree= itself", false},
		{unverified + " --allow-unverified --stage", "can only be staged in the sysroot that the host runs from", false},
		{unverified + " --sysroot=" + t.TempDir(), "not a sysroot", false},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			p := &puller{commit: commits[0]}
			args := strings.Fields(c.args)
			if !strings.Contains(c.args, "--sysroot") {
				args = append(args, "--sysroot="+root)
			}
			_, err := runDeploy(t, p, args...)
			if err == nil || !strings.Contains(err.Error(), c.says) || p.calls > 0 {
				t.Fatalf("got %v after %d pulls, want %q and no pull", err, p.calls, c.says)
			}
			if _, usage := errors.AsType[*usageError](err); usage != c.usage {
				t.Errorf("got a usage error: %v, want %v", usage, c.usage)
			}
		})
	}
}

func TestDeployShowsAPlan(t *testing.T) {
	t.Parallel()
	root, commits := makeImageHost(t)
	const image = "ostree-image-signed:docker://registry.example/os:latest"
	args := []string{"--sysroot=" + root, "--imgref=" + image, "--dry-run", "--karg=quiet", "--karg=dyndbg=file x +p"}
	p := &puller{commit: commits[1]}
	out, err := runDeploy(t, p, args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Would deploy " + image + "\n",
		"  Commit:     " + commits[1].String() + "\n",
		"  Stateroot:  default of " + root + "\n",
		"  Updates:    " + image + "\n",
		"  Boot menu:  changes at once\n",
		"  Kernel:     6.1.0-test, needs 0 bytes of ",
		"  Arguments:  quiet dyndbg=file x +p\n",
		"  Keeps:      " + image + " (default, " + commits[0].String() + ".0 of stateroot default)\n",
		"  Keeps:      vendor:os (other, " + commits[1].String() + ".0 of stateroot default)\n",
		"  Keeps:      (no origin) (other, 01",
		"  Runs:       ostree admin deploy --sysroot=" + root + " --os=default --origin-file=ORIGIN --karg-none " +
			"--karg-append=quiet '--karg-append=dyndbg=file x +p' " + commits[1].String() + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%swant the line %s", out, want)
		}
	}
	out, err = runDeploy(t, p, append(args, "--json")...)
	if err != nil {
		t.Fatal(err)
	}
	var plan deploy.Plan
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&plan); err != nil || plan.Commit != commits[1].String() || len(plan.Keep) != 3 {
		t.Errorf("got %+v and %v", plan, err)
	}
}

func TestDeployStopsWhereThePullDoes(t *testing.T) {
	t.Parallel()
	root, _ := makeImageHost(t)
	want := errors.New("the network is down")
	args := []string{"--sysroot=" + root, "--imgref=ostree-image-signed:docker://registry.example/os"}
	if _, err := runDeploy(t, &puller{err: want}, args...); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestDownloadOnlyDeploysNothing(t *testing.T) {
	t.Parallel()
	root, commits := makeImageHost(t)
	file := filepath.Join(t.TempDir(), "commit")
	p := &puller{commit: commits[0]}
	// What would be refused when it is deployed may be fetched.
	out, err := runDeploy(t, p, "--sysroot="+root, "--imgref=ostree-unverified-registry:registry.example/os",
		"--download-only", "--write-commitid-to="+file)
	if want := "Fetched: ostree-unverified-registry:registry.example/os => " + commits[0].String() + "\n"; err != nil ||
		out != want || p.opts.StoredOnly {
		t.Errorf("got %q and %v, want %q", out, err, want)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != commits[0].String() {
		t.Errorf("got %q and %v, want the checksum without a newline", data, err)
	}
}
