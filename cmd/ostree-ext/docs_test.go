package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/docblocks"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// newcomer is where somebody tries commands: a directory with what documents speak of, a registry at registry.example,
// and the program.
type newcomer struct {
	dir string
	env []string
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{dir: t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "ostree-ext")); err != nil {
		t.Fatal(err)
	}
	registry, updates := testreg.New(t), newUpdates(t)
	hosts := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host == "tuf.example" {
			updates.ServeHTTP(w, req)
			return
		}
		registry.ServeHTTP(w, req)
	})
	n.env = append(os.Environ(), testreg.Named(t, hosts, t.TempDir(), "registry.example",
		"index.docker.io", "registry-1.docker.io", "tuf.example")...)
	n.env = append(n.env, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_RUNTIME_DIR="+t.TempDir(),
		"XDG_CONFIG_HOME=", "REGISTRY_AUTH_FILE=", "OSTREE_REPO=", "SOURCE_DATE_EPOCH=1700000000")
	if err := os.WriteFile(filepath.Join(n.dir, "root.json"), updates.Root(), 0o644); err != nil {
		t.Fatal(err)
	}
	private, public, err := newSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"cosign.key": private, "cosign.pub": public} {
		if err := os.WriteFile(filepath.Join(n.dir, name), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"usr/bin/ls": "ls", "usr/bin/bash": "bash", "usr/etc/os-release": "ID=exampleos\n", "opt/models/m": "m",
		"usr/lib/modules/6.1.0/vmlinuz": "kernel", "usr/lib/os-release": "ID=exampleos\n", "usr/lib/app/a": "a",
		"lib/apk/db/installed": "P:app\nV:1\nF:usr/lib/app\nR:a\n\n",
	} {
		name = filepath.Join(n.dir, "rootfs", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// run runs a script of the shell.
func (n *newcomer) run(t *testing.T, where, script string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
	c.Dir, c.Env = n.dir, n.env
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", where, err, script, out)
	}
}

// TestTheCommandsInTheDocumentsRun runs them exactly as they are printed, one after the other.
func TestTheCommandsInTheDocumentsRun(t *testing.T) {
	t.Parallel()
	n := newNewcomer(t)
	n.run(t, "what was there before", "ostree-ext container build -q --rootfs=rootfs docker://registry.example/app:build")
	for _, b := range docblocks.Of(t, "../..", docblocks.CommandLine) {
		if strings.HasPrefix(b.Text, "- name: ") {
			if err := os.WriteFile(filepath.Join(n.dir, "rules.yaml"), []byte(b.Text), 0o644); err != nil {
				t.Fatal(err)
			}
			n.run(t, b.String(), "ostree-ext container build --rootfs=rootfs --mapping=rules.yaml oci:mapped")
			continue
		}
		n.run(t, b.String(), b.Text)
	}
}

// notRun are examples of help texts that cannot run here, and why.
var notRun = map[string]string{
	"ostree-ext tar export":                   "it needs zstd, and the tests of internal/e2e run it",
	"ostree-ext tar import":                   "as above",
	"ostree-ext container image deploy":       "it needs a host",
	"ostree-ext container image diff":         "it needs a host",
	"ostree-ext container image status":       "it needs a host",
	"ostree-ext container image prune-images": "it needs a host",
	"ostree-ext provisional-repair repair":    "it needs a host",
	"ostree-ext container commit":             "it is a line of a Containerfile",
	"ostree-ext ima-sign":                     "it needs evmctl, and a test of repo/ima runs it",
}

// TestTheExamplesOfHelpRun runs the examples of each command exactly as the help prints them.
func TestTheExamplesOfHelpRun(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		if c.Example == "" || notRun[c.CommandPath()] != "" || c.Parent() != nil && c.Parent().Name() == "completion" {
			continue
		}
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) {
			t.Parallel()
			n := newNewcomer(t)
			n.run(t, "what was there before", whatWasThere(c.CommandPath()))
			n.run(t, c.CommandPath(), c.Example)
		})
	}
}

// signedByKey signs the image that is there with a key, by a bundle, and makes a rule that asks for it.
const signedByKey = `
ostree-ext container sign --sign-by-sigstore-private-key=cosign.key docker://registry.example/os:latest
mkdir -p "$HOME/.config/ostree-ext/trust.d"
printf 'docker:\n  registry.example/os:\n    signedBy: [{keyPath: %s}]\n' "$PWD/cosign.pub" \
  >"$HOME/.config/ostree-ext/trust.d/os.yaml"
`

// whatWasThere returns the commands that make what the examples of a command speak of.
func whatWasThere(command string) string {
	const image = "ostree-ext container build -q --rootfs=rootfs "
	const repo = "ostree-ext repo init --repo=repo --mode=bare-user\n" +
		"for b in exampleos/x86_64/stable os/stable; do for i in 1 2 3; do\n" +
		"ostree-ext repo commit --repo=repo --branch=$b --add-metadata-string=version=$i rootfs; done; done\n"
	const keys = "echo AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA== " +
		">secret.key\necho iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w= >public.key\n"
	const encapsulate = repo + "ostree-ext container encapsulate -q --repo=repo os/stable "
	switch command {
	case "ostree-ext":
		return "ostree-ext repo init --repo=host --mode=bare-user"
	case "ostree-ext container build":
		return image + "docker://registry.example/os:build\n" + image + "docker://docker.io/library/debian:12\n" +
			"echo more >rootfs/usr/bin/more\n" + image + "oci:app"
	case "ostree-ext advise":
		return image + "docker://registry.example/os:latest\n" + image + "oci:build:1\n" + image + "oci:build:2"
	case "ostree-ext compose build-chunked-oci":
		return image + "docker://registry.example/os:build"
	case "ostree-ext compose rechunk":
		return image + "docker://registry.example/os:build\n" +
			image + "--format=ostree docker://registry.example/os:latest"
	case "ostree-ext rechunk":
		return image + "docker://registry.example/app:build"
	case "ostree-ext container unencapsulate":
		return encapsulate + "docker://registry.example/os:latest\n" + encapsulate + "oci-archive:os.ociarchive"
	case "ostree-ext container info", "ostree-ext container compare", "ostree-ext container verify",
		"ostree-ext chunks show", "ostree-ext chunks diff", "ostree-ext chunks history", "ostree-ext container sign":
		script := image + "oci:layout:latest\n" + image + "oci:layout:old\n" + image + "oci:layout:new\n"
		for _, tag := range []string{"latest", "1", "2"} {
			script += encapsulate + "docker://registry.example/os:" + tag + "\n"
		}
		return script
	case "ostree-ext container image pull":
		return encapsulate + "docker://registry.example/os:latest"
	case "ostree-ext container image history", "ostree-ext container image metadata", "ostree-ext container image copy",
		"ostree-ext container image clear-cached-update", "ostree-ext container image reexport",
		"ostree-ext container image remove", "ostree-ext container image repair":
		script := repo + "ostree-ext repo init --repo=backup --mode=bare-user\n"
		for _, tag := range []string{"latest", "old"} {
			script += "ostree-ext container encapsulate -q --repo=repo os/stable docker://registry.example/os:" + tag + "\n" +
				"ostree-ext container image pull -q repo ostree-unverified-registry:registry.example/os:" + tag + "\n"
		}
		return script
	case "ostree-ext container image replace-detached-metadata":
		return keys + encapsulate + "docker://registry.example/os:build\n: >signatures.commitmeta"
	case "ostree-ext chunks plan":
		return repo + `echo '[{"identifier": "a", "size": 1, "change_frequency": 1}]' | gzip >packages.json.gz`
	case "ostree-ext container trust check":
		return encapsulate + "docker://registry.example/os:latest\n" + signedByKey +
			"ostree-ext container image pull -q repo ostree-image-signed:docker://registry.example/os:latest"
	case "ostree-ext container trust init":
		keys, _ := filepath.Abs("../../container/trust/setup/testdata/keys") // if it fails, so does the script
		return "cp " + keys + "/first.pub cosign.pub\ncp " + keys + "/second.pub next.pub"
	case "ostree-ext repo init", "ostree-ext container trust update":
		return "true"
	case "ostree-ext repo pull-local":
		return keys + repo + "ostree-ext repo sign --repo=repo --keys-file=secret.key exampleos/x86_64/stable\n" +
			"mv repo build\nostree-ext repo init --repo=host --mode=bare-user\n" +
			`printf '[remote "exampleos"]\nverification-ed25519-file=public.key\n' >>host/config`
	case "ostree-ext repo sign":
		return keys + repo
	case "ostree-ext repo refs":
		return repo
	case "ostree-ext repo checkout":
		return repo + "mkdir etc"
	case "ostree-ext repo commit":
		return repo + "mkdir app && echo x >app/x"
	case "ostree-ext diff":
		return repo + "ostree-ext repo refs --repo=repo --create=old os/stable^\n" +
			"ostree-ext repo refs --repo=repo --create=new os/stable"
	}
	return repo
}

// TestCommandsInTheTextExist checks the commands that documents mention in the text: the command and its flags exist.
func TestCommandsInTheTextExist(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	span := regexp.MustCompile("`ostree-ext ([^`]+)`")
	n := 0
	for _, name := range append(names, "../../README.md", "../../CHANGELOG.md", "../../SECURITY.md") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range span.FindAllStringSubmatch(strings.ReplaceAll(string(data), "\n", " "), -1) {
			n++
			args := strings.Fields(m[1])
			c, rest, err := newRootCommand(&app{}).Find(args)
			if err != nil || !c.HasParent() || c.HasSubCommands() && len(rest) > 0 {
				t.Errorf("%s: there is no command %q", name, m[0])
				continue
			}
			c.InitDefaultHelpFlag()
			for _, arg := range rest {
				flag, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
				if strings.HasPrefix(arg, "--") && c.Flag(flag) == nil {
					t.Errorf("%s: %q: there is no flag --%s", name, m[0], flag)
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d commands were found", n)
	}
}
