package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
	"github.com/ostree-ext/ostree-ext-go/repo/repotest"
)

// runDeploy runs `container image deploy` and returns its output and its error.
func runDeploy(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"container", "image", "deploy"}, args...)
	if code := run(t.Context(), args, streams{out: &out, err: &errs}); code != exitOK {
		return out.String(), fmt.Errorf("status %d: %s", code, errs.String())
	}
	return out.String(), nil
}

// bootableImage makes an image of a tree with a kernel in an OCI directory, and returns its reference.
func bootableImage(t *testing.T, kernel string) string {
	t.Helper()
	return bootableImageOf(t, repotest.KernelVersion, kernel)
}

// bootableImageOf is bootableImage with another version of the kernel in its label.
func bootableImageOf(t *testing.T, version, kernel string) string {
	t.Helper()
	r := repotest.Init(t, repo.ModeArchive)
	label := gvariant.String(kernel[:min(3, len(kernel))])
	metadata := repo.MarkBootable(gvariant.Dict{{Key: "version", Value: label}}, version)
	repotest.CommitWith(t, r, repotest.BootTree(kernel, "initramfs", nil), "os", metadata, nil)
	image := "oci:" + filepath.Join(t.TempDir(), "image")
	var out, errs bytes.Buffer
	args := []string{"container", "encapsulate", "-q", "--repo=" + r.Path(), "os", image}
	if code := run(t.Context(), args, streams{out: &out, err: &errs}); code != exitOK {
		t.Fatal(errs.String())
	}
	return "ostree-unverified-image:" + image
}

// plannedBootableImage is like bootableImageOf. The image has layers for packages.
func plannedBootableImage(t *testing.T, version, kernel string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"usr/lib/modules/" + version + "/vmlinuz":       kernel,
		"usr/lib/modules/" + version + "/initramfs.img": "initramfs",
		"usr/lib/os-release":                            "ID=exampleos\n",
		"usr/bin/tool":                                  "tool",
		"var/lib/dpkg/status":                           "Package: tool\nStatus: install ok installed\nVersion: 1\n\n",
		"var/lib/dpkg/info/tool.list":                   "/usr/bin/tool\n",
	} {
		name = filepath.Join(root, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	image := "oci:" + filepath.Join(t.TempDir(), "image")
	var out, errs bytes.Buffer
	args := []string{"container", "build", "-q", "--prior=none", "--format=ostree", "--rootfs=" + root, image}
	if code := run(t.Context(), args, streams{out: &out, err: &errs}); code != exitOK {
		t.Fatal(errs.String())
	}
	return "ostree-unverified-image:" + image
}

func TestDeployReadsReferences(t *testing.T) {
	t.Parallel()
	const signed = "ostree-image-signed:docker://registry.example/os:latest"
	for _, c := range []struct{ name, args, from, target string }{
		{"a reference", "--imgref=" + signed, signed, signed},
		{"a name", "--image=registry.example/os", "ostree-unverified-registry:registry.example/os",
			"ostree-unverified-registry:registry.example/os"},
		{"a name with a transport", "--transport=oci --image=/x --no-signature-verification",
			"ostree-unverified-image:oci:/x", "ostree-unverified-image:oci:/x"},
		{"a name with the policy", "--image=registry.example/os --enforce-container-sigpolicy",
			"ostree-image-signed:docker://registry.example/os", "ostree-image-signed:docker://registry.example/os"},
		{"a name with a remote", "--image=registry.example/os --enforce-container-sigpolicy --ostree-remote=vendor",
			"ostree-remote-image:vendor:docker://registry.example/os",
			"ostree-remote-image:vendor:docker://registry.example/os"},
		{"a name goes before a reference", "--image=registry.example/os --imgref=" + signed,
			"ostree-unverified-registry:registry.example/os", "ostree-unverified-registry:registry.example/os"},
		{"another target", "--imgref=ostree-unverified-image:oci:/x --target-imgref=" + signed,
			"ostree-unverified-image:oci:/x", signed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var f deployFlags
			fs := pflag.NewFlagSet("deploy", pflag.ContinueOnError)
			f.add(&app{}, fs)
			if err := fs.Parse(strings.Fields(c.args)); err != nil {
				t.Fatal(err)
			}
			from, target, err := f.references(fs)
			if err != nil || from.String() != c.from || target.String() != c.target {
				t.Errorf("got %s, %s and %v", from, target, err)
			}
		})
	}
}

func TestDeployRefusesArgumentsBeforeThePull(t *testing.T) {
	t.Parallel()
	root, _ := makeImageHost(t)
	const unverified = "--imgref=ostree-unverified-registry:registry.example/os"
	for _, c := range []struct {
		args, says string
		usage      bool
	}{
		{"", "missing --imgref, --image or --update", true},
		{"--update " + unverified, "choose one", true},
		{"--update --json", "choose one", true},
		{"--update --transport=oci", "--transport goes with --image", true},
		{"--imgref=registry:x", "invalid value 'registry:x' for '--imgref'", true},
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
			args := strings.Fields(c.args)
			if !strings.Contains(c.args, "--sysroot") {
				args = append(args, "--sysroot="+root)
			}
			status := "status 1: "
			if c.usage {
				status = "status 2: "
			}
			// There is no such registry, so a pull would end otherwise.
			if _, err := runDeploy(t, args...); err == nil || !strings.HasPrefix(err.Error(), status) ||
				!strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s%s", err, status, c.says)
			}
		})
	}
}

func TestDeployShowsAPlan(t *testing.T) {
	t.Parallel()
	root, commits := makeImageHost(t)
	image := bootableImage(t, "kernel")
	const target = "ostree-image-signed:docker://registry.example/os:2"
	args := []string{"--sysroot=" + root, "--imgref=" + image, "--target-imgref=" + target}
	file := filepath.Join(t.TempDir(), "commit")
	out, err := runDeploy(t, append(args, "--download-only", "--write-commitid-to="+file)...)
	if err != nil {
		t.Fatal(err)
	}
	commit, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "Fetched: " + target + " => " + string(commit) + "\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	args = append(args, "--dry-run", "--karg=quiet", "--karg=dyndbg=file x +p")
	if out, err = runDeploy(t, args...); err != nil {
		t.Fatal(err)
	}
	const present = "ostree-image-signed:docker://registry.example/os:latest"
	for _, want := range []string{
		"Would deploy " + target + "\n",
		"  Commit:     " + string(commit) + "\n",
		"  Stateroot:  default of " + root + "\n",
		"  Updates:    " + present + "\n",
		"  Boot menu:  changes at once\n",
		"  Kernel:     6.1.0-test, needs 0 bytes of ",
		"  Arguments:  quiet dyndbg=file x +p\n",
		"  Keeps:      " + present + " (default, " + commits[0].String() + ".0 of stateroot default)\n",
		"  Keeps:      vendor:os (other, " + commits[1].String() + ".0 of stateroot default)\n",
		"  Keeps:      (no origin) (other, 01",
		"  Runs:       ostree admin deploy --sysroot=" + root + " --os=default --origin-file=ORIGIN --karg-none " +
			"--karg-append=quiet '--karg-append=dyndbg=file x +p' " + string(commit) + "\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%swant the line %s", out, want)
		}
	}
}

// touched lists the files of a directory with their times.
func touched(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&b, name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestADryRunOfAnImageThatIsNotStoredSaysWhatIsKnownAndWritesNothing(t *testing.T) {
	t.Parallel()
	root, _ := makeImageHost(t)
	first := plannedBootableImage(t, "9.8", "kernel")
	const target = "--target-imgref=ostree-image-signed:docker://registry.example/os:2"
	deploy := func(image string, args ...string) (string, error) {
		return runDeploy(t, append(args, "--sysroot="+root, "--imgref="+image, target)...)
	}
	if _, err := runDeploy(t, "--sysroot="+root, "--imgref="+first, "--allow-unverified", "--download-only"); err != nil {
		t.Fatal(err)
	}
	// The name of the image leads to another image now.
	second := plannedBootableImage(t, "9.9", "another kernel")
	path := func(image string) string { return strings.TrimPrefix(image, "ostree-unverified-image:oci:") }
	if err := errors.Join(os.RemoveAll(path(first)), os.Rename(path(second), path(first))); err != nil {
		t.Fatal(err)
	}
	before := touched(t, root)
	out, err := deploy(first, "--dry-run")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Would deploy ostree-image-signed:docker://registry.example/os:2\n",
		" layers with ", ", which need ",
		"  Kernel:     9.9, needs 0 bytes of ",
		"  Updates:    ostree-image-signed:docker://registry.example/os:latest\n",
		"  Runs:       ostree admin deploy --sysroot=" + root + " --os=default --origin-file=ORIGIN COMMIT\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%swant %s", out, want)
		}
	}
	if strings.Contains(out, "Commit:") {
		t.Errorf("got\n%swant no commit", out)
	}
	var plan struct {
		Commit string
		Kernel string
		Fetch  struct {
			Layers              int
			Bytes, Needed, Free int64
			KernelKnown         bool `json:"kernel_known"`
		}
	}
	if out, err = deploy(first, "--dry-run", "--json"); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatal(err)
	}
	if f := plan.Fetch; plan.Commit != "" || plan.Kernel != "9.9" || f.Layers == 0 || f.Bytes == 0 || f.Needed == 0 ||
		f.Free == 0 || !f.KernelKnown {
		t.Errorf("got %+v", plan)
	}
	// What would be refused is refused.
	if _, err := deploy(first, "--dry-run", "--max-bytes=10"); err == nil ||
		!strings.Contains(err.Error(), "the limit is 10") {
		t.Errorf("got %v, want the limit", err)
	}
	// An image without a plan does not tell the size of its kernel.
	if out, err = deploy(bootableImage(t, "kernel"), "--dry-run"); err != nil ||
		!strings.Contains(out, "  Kernel:     6.1.0-test; what it needs of ") ||
		!strings.Contains(out, "Fetches:    1 layer ") {
		t.Errorf("got\n%s%v", out, err)
	}
	if after := touched(t, root); after != before {
		t.Errorf("files changed from\n%sto\n%s", before, after)
	}
}

func TestAnUpdateNeedsAnImageThatTheSystemIsUpdatedFrom(t *testing.T) {
	t.Parallel()
	root := repotest.MakeSysroot(t)
	r, err := repo.Init(filepath.Join(root, "ostree/repo"), repo.ModeBareUser)
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	const says = "the deployment that is booted next is not updated from an image: name an image with --imgref or --image"
	if _, err := runDeploy(t, "--update", "--sysroot="+root); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %s", err, says)
	}
}

func TestDownloadOnlyFetchesWhatCouldNotBeDeployed(t *testing.T) {
	t.Parallel()
	root, _ := makeImageHost(t)
	image := bootableImage(t, "kernel")
	if _, err := runDeploy(t, "--sysroot="+root, "--imgref="+image); err == nil ||
		!strings.Contains(err.Error(), "--allow-unverified") {
		t.Errorf("got %v", err)
	}
	out, err := runDeploy(t, "--sysroot="+root, "--imgref="+image, "--download-only")
	if err != nil || !strings.HasPrefix(out, "Fetched: "+image+" => ") {
		t.Errorf("got %q and %v", out, err)
	}
}

func TestDeployRefusesWhatCannotBeBooted(t *testing.T) {
	t.Parallel()
	root, _ := makeImageHost(t)
	image := "oci:" + filepath.Join(t.TempDir(), "image")
	tree := t.TempDir()
	writeTestFile(t, filepath.Join(tree, "usr/bin/hello"), "hello")
	must := func(args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, streams{out: &out, err: &errs}); code != exitOK {
			t.Fatal(errs.String())
		}
	}
	must("container", "build", "-q", "--rootfs="+tree, image)
	deploy := func(args ...string) {
		t.Helper()
		args = append(args, "--sysroot="+root, "--imgref=ostree-unverified-image:"+image, "--allow-unverified")
		if _, err := runDeploy(t, args...); err == nil || !strings.Contains(err.Error(), "ostree.bootable") {
			t.Errorf("got %v, want that the label is missing", err)
		}
	}
	deploy("--download-only")
	must("container", "image", "pull", "-q", filepath.Join(root, "ostree/repo"), "ostree-unverified-image:"+image)
	deploy()
}
