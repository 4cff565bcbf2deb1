//go:build interop

package actions

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/testca"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// release is a directory with the files of a release, which has the program for this machine.
var release string

// programName is the name of the program in the release.
const programName = "ostree-ext-1.0.0-linux-" + runtime.GOARCH

func TestMain(m *testing.M) {
	os.Exit(testhome.Tests{M: testhome.Func(func() int { return build(m) })}.Run())
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ostree-ext-actions")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	release = dir
	cmd := exec.Command("go", "build", "-tags=containers_image_openpgp", "-trimpath", "-o", filepath.Join(dir,
		programName),
		"github.com/ostree-ext/ostree-ext-go/cmd/ostree-ext")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	program, err := os.ReadFile(filepath.Join(dir, programName))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	sums := checksum(program) + "  " + programName + "\n" + checksum(nil) + "  ostree-ext-1.0.0-linux-other\n" +
		checksum(nil) + "  ostree-ext-sh-1.0.0-linux-" + runtime.GOARCH + "\n" +
		checksum(nil) + "  " + programName + ".spdx.json\n"
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// runner is a machine on which jobs run: it has the files and variables of GitHub's, and a registry at
// registry.example.
// The releases are at releases.example.
type runner struct {
	t   *testing.T
	dir string
	env []string
	// outputs are those of the last step.
	outputs map[string]string
	// log is what the last step printed.
	log string
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{t: t, dir: t.TempDir()}
	registry := testreg.New(t)
	files := http.FileServer(http.Dir(release))
	hosts := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host == "releases.example" {
			files.ServeHTTP(w, req)
			return
		}
		registry.ServeHTTP(w, req)
	})
	for _, name := range []string{"temp", "home", "work"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.env = append(os.Environ(), testreg.Named(t, hosts, r.dir, "registry.example", "releases.example")...)
	r.env = append(r.env, "PATH="+r.path("temp/ostree-ext-bin")+":"+os.Getenv("PATH"), "HOME="+r.path("home"),
		"CURL_CA_BUNDLE=", "SSL_CERT_DIR=",
		"XDG_CONFIG_HOME=", "REGISTRY_AUTH_FILE=", "SOURCE_DATE_EPOCH=1709641801", "GITHUB_OUTPUT="+r.path("output"),
		"GITHUB_STEP_SUMMARY="+r.path("summary"), "GITHUB_PATH="+r.path("path"), "RUNNER_TEMP="+r.path("temp"),
		"GITHUB_WORKSPACE="+r.path("work"), "GITHUB_ACTOR=somebody", "GITHUB_JOB_TOKEN=secret", "RUNNER_ARCH=", "ACTION_REF=",
		"ACTION_REPOSITORY=")
	r.write("home/.gitconfig", "[user]\nname = n\nemail = n@example\n[commit]\ngpgSign = false\n")
	return r
}

func (r *runner) path(name string) string { return filepath.Join(r.dir, name) }

func (r *runner) write(name, text string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *runner) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// sh runs a command of the shell in the workspace, with the program in PATH, and returns its output.
func (r *runner) sh(script string) string {
	r.t.Helper()
	c := exec.CommandContext(r.t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir, c.Env = r.path("work"), r.env
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s%s", script, err, out, stderr.String())
	}
	return string(out)
}

// step runs a script of an action as it is, with inputs, and reports whether it succeeded.
func (r *runner) step(script string, inputs map[string]string) bool {
	r.t.Helper()
	name, err := filepath.Abs(filepath.Join(root, "tools/action", script))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("output", "")
	c := exec.CommandContext(r.t.Context(), name)
	c.Dir, c.Env = r.path("work"), r.env
	for key, value := range inputs {
		c.Env = append(c.Env, key+"="+value)
	}
	out, err := c.CombinedOutput()
	r.log = string(out)
	r.readOutputs()
	left, globErr := filepath.Glob(r.path("temp/ostree-ext.*"))
	if globErr != nil || len(left) > 0 {
		r.t.Errorf("%s leaves %q, %v", script, left, globErr)
	}
	return err == nil
}

// must is step for a script that succeeds.
func (r *runner) must(script string, inputs map[string]string) {
	r.t.Helper()
	if !r.step(script, inputs) {
		r.t.Fatalf("%s fails:\n%s", script, r.log)
	}
}

// readOutputs reads the file of outputs as the runner does.
func (r *runner) readOutputs() {
	r.t.Helper()
	r.outputs = map[string]string{}
	rest := r.read("output")
	for rest != "" {
		head, after, _ := strings.Cut(rest, "\n")
		name, end, ok := strings.Cut(head, "<<")
		value, after, closed := strings.Cut(after, "\n"+end+"\n")
		if !ok || !closed {
			r.t.Fatalf("the outputs are malformed at %q:\n%s", head, r.read("output"))
		}
		r.outputs[name], rest = value, after
	}
}

// commands returns the commands for the runner in the log of a step.
func (r *runner) commands() (list []string) {
	stopped := ""
	for line := range strings.Lines(r.log) {
		line = strings.TrimRight(line, "\n")
		word, isStop := strings.CutPrefix(line, "::stop-commands::")
		switch {
		case stopped != "" && line == "::"+stopped+"::":
			stopped = ""
		case stopped != "":
		case isStop:
			stopped = word
		case strings.HasPrefix(strings.TrimSpace(line), "::"), strings.HasPrefix(line, "##["):
			list = append(list, line)
		}
	}
	return list
}

func (r *runner) install() {
	r.t.Helper()
	r.must("setup", map[string]string{"INPUT_DOWNLOAD_FROM": release})
}

// labels returns the labels of an image, as skopeo prints them.
func (r *runner) labels(image string) map[string]string {
	r.t.Helper()
	var config struct {
		Config struct{ Labels map[string]string } `json:"config"`
	}
	if err := json.Unmarshal([]byte(r.sh("skopeo inspect --config "+image)), &config); err != nil {
		r.t.Fatal(err)
	}
	return config.Config.Labels
}

// tree writes a root filesystem with two packages of apk, the first one in the given version.
func (r *runner) tree(version string) {
	r.t.Helper()
	r.write("work/rootfs/lib/apk/db/installed", "P:app\nV:"+version+"\no:app\nF:usr/lib/app\nR:a\n\n"+
		"P:big|`lib`\nV:1-r0\no:big\nF:usr/lib/big\nR:b\n\n")
	r.write("work/rootfs/usr/lib/app/a", noise(version, 1<<20))
	r.write("work/rootfs/usr/lib/big/b", noise("big", 2<<20))
	r.write("work/rootfs/usr/lib/modules/6.1.0/vmlinuz", "kernel")
	r.write("work/rootfs/etc/os-release", "ID=exampleos\n")
}

// noise returns text of a length that does not compress.
func noise(seed string, length int) string {
	data := make([]byte, length)
	_, _ = mathrand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(data)
	return string(data)
}

// key returns a private key in PEM, and writes a rule that asks for its signatures.
func (r *runner) key() string {
	r.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		r.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("os.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	r.rule("keyPath: " + r.path("os.pub"))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// rule writes a rule for registry.example/os that asks for a signer.
func (r *runner) rule(signer string) {
	r.t.Helper()
	r.write("home/.config/ostree-ext/trust.d/os.yaml",
		"docker:\n  registry.example/os:\n    signedBy:\n    - "+signer+"\n")
}

func TestInterop_SetupInstallsTheProgramOfTheRelease(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(release, programName))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		inputs map[string]string
		fails  string
	}{
		{"from a directory", map[string]string{"INPUT_DOWNLOAD_FROM": release}, ""},
		{"from a server", map[string]string{"INPUT_DOWNLOAD_FROM": "https://releases.example/"}, ""},
		{"one program", map[string]string{"INPUT_DOWNLOAD_FROM": filepath.Join(release, programName)}, ""},
		{"the checksum that is asked for", map[string]string{
			"INPUT_DOWNLOAD_FROM": release, "INPUT_SHA256": strings.ToUpper(checksum(program))}, ""},
		{"another checksum", map[string]string{
			"INPUT_DOWNLOAD_FROM": release, "INPUT_SHA256": checksum(nil)}, "the SHA-256 of " + programName + " is "},
		{"no release", map[string]string{"INPUT_DOWNLOAD_FROM": "https://releases.example/absent"}, "cannot fetch"},
		{"plain HTTP", map[string]string{"INPUT_DOWNLOAD_FROM": "http://releases.example"}, "has to begin with https://"},
		{"an architecture without release", map[string]string{"RUNNER_ARCH": "X86"}, "no release of ostree-ext for the arch"},
		{"no name of a release", map[string]string{"INPUT_RELEASE": "v1/../../x"}, "is not the name of one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t)
			ok := r.step("setup", c.inputs)
			if c.fails != "" {
				if got := r.commands(); ok || len(got) != 1 || !strings.Contains(got[0], c.fails) {
					t.Errorf("want %q, got %v %q:\n%s", c.fails, ok, got, r.log)
				}
				return
			}
			if !ok {
				t.Fatalf("it fails:\n%s", r.log)
			}
			if bin := r.path("temp/ostree-ext-bin"); r.read("path") != bin+"\n" ||
				r.outputs["program"] != bin+"/ostree-ext" || r.outputs["version"] == "" {
				t.Errorf("got %q %q:\n%s", r.read("path"), r.outputs, r.log)
			}
			if got := r.sh("ostree-ext version"); !strings.HasPrefix(got, "ostree-ext ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestInterop_AProgramThatWasAlteredIsNotInstalled(t *testing.T) {
	r := newRunner(t)
	r.sh("cp " + release + "/* . && echo >>" + programName)
	if r.step("setup", map[string]string{"INPUT_DOWNLOAD_FROM": r.path("work")}) || !strings.Contains(r.log,
		"the SHA-256 of") {
		t.Errorf("it is installed:\n%s", r.log)
	}
	if _, err := os.Stat(r.path("temp/ostree-ext-bin/ostree-ext")); err == nil {
		t.Error("the program is there")
	}
}

func TestInterop_TheActionBuildsSignsAndShowsWhatHostsDownload(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.install()
	r.tree("1.0-r0")
	key := r.key()
	inputs := map[string]string{
		"INPUT_IMAGE": "registry.example/OS:latest", "INPUT_ROOTFS": "rootfs", "INPUT_FORMAT": "ostree", "INPUT_SIGN": "key",
		"INPUT_KEY": key, "INPUT_LABELS": "a=b c\n\n  d=e\n", "INPUT_TAGS": "one", "INPUT_ARGUMENTS": "--check-prior",
	}
	r.must("build", inputs)
	if first := r.read("summary"); !strings.Contains(first, "## registry.example/os\\:latest\n") ||
		!strings.Contains(first, "There was no image before") || r.outputs["download"] != "" || r.outputs["previous"] != "" {
		t.Errorf("the first image: %s%q", first, r.outputs)
	}
	first := r.outputs
	if got := r.labels("docker://registry.example/os:one"); got["a"] != "b c" || got["d"] != "e" {
		t.Errorf("labels: %q", got)
	}

	r.write("summary", "")
	r.tree("1.1-r0")
	r.must("build", inputs)
	if r.outputs["previous"] != first["image"] || r.outputs["digest"] == first["digest"] ||
		r.outputs["image"] != "registry.example/os@"+r.outputs["digest"] || r.outputs["commit"] == "" {
		t.Errorf("outputs: %q after %q", r.outputs, first)
	}
	if kept := r.outputs["kept-layers"]; kept == "0" || kept == "" || kept == r.outputs["layers"] {
		t.Errorf("%s of %s layers are kept", kept, r.outputs["layers"])
	}
	var diff struct{ Download int }
	text := r.sh("ostree-ext chunks diff --json docker://" + first["image"] + " docker://" + r.outputs["image"])
	if err := json.Unmarshal([]byte(text), &diff); err != nil {
		t.Fatal(err)
	}
	if r.outputs["download"] != fmt.Sprint(diff.Download) || diff.Download == 0 {
		t.Errorf("the output download is %s, of %d", r.outputs["download"], diff.Download)
	}
	second := r.read("summary")
	for _, want := range []string{
		"**A host downloads ", "| download | because of |\n|---:|---|\n", " kB | the commit and the directories |\n",
		" | apk/app", "| package | old | new |\n|---|---|---|\n| app | 1.0-r0 | 1.1-r0 |\n",
	} {
		if !strings.Contains(second, want) {
			t.Errorf("the summary does not have %q:\n%s", want, second)
		}
	}

	r.sh("ostree-ext repo init --repo=r --mode=bare-user-only")
	r.sh("ostree-ext container image pull -q r ostree-image-signed:docker://" + r.outputs["image"])
	r.must("build", map[string]string{"INPUT_IMAGE": "registry.example/os:unsigned",
		"INPUT_FROM":   "registry.example/os:latest",
		"INPUT_LABELS": "other=image", "INPUT_SUMMARY": "false", "INPUT_PRIOR": "registry.example/os:one"})
	if r.outputs["previous"] != "registry.example/os:one" || r.read("summary") != second {
		t.Errorf("without a summary: %q\n%s", r.outputs, r.read("summary"))
	}
	r.sh("! ostree-ext container image pull -q r ostree-image-signed:docker://" + r.outputs["image"])
	r.must("build", map[string]string{})
	if !strings.Contains(r.log, "nothing is built") {
		t.Errorf("without an image: %s", r.log)
	}
}

func TestInterop_TheActionSignsAsTheWorkflow(t *testing.T) {
	t.Parallel()
	const workflow = "https://github.com/exampleos/os/.github/workflows/build.yml@refs/heads/main"
	const issuer = "https://token.actions.githubusercontent.com"
	r := newRunner(t)
	r.install()
	r.tree("1.0-r0")
	authority := testca.New(t)
	s := authority.Serve(t)
	s.IdentityToken(workflow, issuer)
	r.write("signing.json", string(authority.SigningConfig(s.URL)))
	r.write("home/.config/ostree-ext/trusted_root.json", string(authority.Root().JSON()))
	r.rule("oidcIssuer: " + issuer + "\n      identity: " + workflow + "\n      trustedRoot: " +
		r.path("home/.config/ostree-ext/trusted_root.json"))
	r.write("ca.crt", r.read("named-ca.crt")+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	r.env = append(r.env, "SSL_CERT_FILE="+r.path("ca.crt"))
	r.must("build", map[string]string{"INPUT_IMAGE": "registry.example/os:latest", "INPUT_ROOTFS": "rootfs",
		"INPUT_FORMAT": "ostree", "INPUT_SIGN": "identity", "INPUT_SIGNING_CONFIG": r.path("signing.json"),
		"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request"})
	r.sh("ostree-ext repo init --repo=r --mode=bare-user-only")
	r.sh("ostree-ext container image pull -q r ostree-image-signed:docker://" + r.outputs["image"])
}

// hostile is text that a shell, a runner, a table or an argument could take for something else.
const hostile = "$(touch pwned) `touch pwned` \"'; touch pwned; ' | <b> %0A::error::x \\ -- ::set-output name=digest::x"

func TestInterop_HostileInputsAreOnlyData(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.install()
	r.tree(hostile)
	r.must("build", map[string]string{
		"INPUT_IMAGE": "registry.example/hostile:latest", "INPUT_ROOTFS": "rootfs",
		"INPUT_LABELS": "a=" + hostile + "\n::set-output name=digest::x=y\nb=--help", "INPUT_ANNOTATIONS": "c=" + hostile,
		"INPUT_ARGUMENTS": "--cmd=" + hostile,
	})
	if got := r.labels("docker://registry.example/hostile:latest"); got["a"] != hostile || got["b"] != "--help" {
		t.Errorf("labels: %q", got)
	}
	if got := r.commands(); len(got) > 0 {
		t.Errorf("the runner is told %q:\n%s", got, r.log)
	}
	r.tree("1.0" + hostile)
	r.must("build", map[string]string{"INPUT_IMAGE": "registry.example/hostile:latest", "INPUT_ROOTFS": "rootfs"})
	if summary := r.read("summary"); strings.Contains(summary, "<b>") || strings.Contains(summary, "| big|") ||
		strings.Contains(summary, " `touch") {
		t.Errorf("the summary: %s", summary)
	}
	for _, c := range []struct{ name, value string }{
		{"INPUT_IMAGE", "registry.example/$(touch pwned):latest"},
		{"INPUT_IMAGE", "registry.example/a:b\n::set-output name=digest::x"},
		{"INPUT_IMAGE", "--help"},
		{"INPUT_ROOTFS", "$(touch pwned)\n::error::x"},
		{"INPUT_FORMAT", "plain --help\n::error::x"},
		{"INPUT_MAX_LAYERS", "1; touch pwned"},
		{"INPUT_PRIOR", "$(touch pwned)"},
		{"INPUT_SIGN", "key; touch pwned"},
		{"INPUT_LABELS", "::error::x"},
		{"INPUT_TAGS", "$(touch pwned)"},
		{"INPUT_PLATFORM", hostile},
		{"INPUT_KEEP_BASE", hostile},
	} {
		inputs := map[string]string{"INPUT_IMAGE": "registry.example/other:latest", "INPUT_ROOTFS": "rootfs"}
		maps.Copy(inputs, map[string]string{c.name: c.value})
		if r.step("build", inputs) || len(r.outputs) > 0 {
			t.Errorf("%s=%q is accepted: %q\n%s", c.name, c.value, r.outputs, r.log)
		}
		if got := r.commands(); len(got) != 1 || !strings.HasPrefix(got[0], "::error::") {
			t.Errorf("%s=%q: the runner is told %q:\n%s", c.name, c.value, got, r.log)
		}
	}
	if found := r.sh("find .. -name pwned"); found != "" {
		t.Errorf("a command of an input ran: %s", found)
	}
}

// described are the inputs that describe an image.
func described() map[string]string {
	return map[string]string{
		"INPUT_VERSION": "3.1_<date>", "INPUT_PRETTY": "Stable", "INPUT_REVISION": "HEAD",
		"INPUT_LABELS":      "org.opencontainers.image.title=Example <pretty>\n\n  no label\n  app=<relver:app>\n",
		"INPUT_DESCRIPTION": "Two\nlines: " + hostile,
		"INPUT_CHANGELOG":   "# <version> (<pretty>)\nsince <previous>\n<commits><pkgupd>",
		"INPUT_FORMATTERS":  "commits.commit=- <subject>\\n\npkgupd.update=* <package> <old> <new>\\n\nother=x",
	}
}

func TestInterop_TheRechunkActionTakesThePeersInputs(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.install()
	r.env = append(r.env, r.storage()...)
	r.sh("git init -q . && git commit -q --allow-empty -m first")
	r.tree("1.0-r0")
	r.sh("ostree-ext container build -q --rootfs=rootfs containers-storage:localhost/exampleos/os:build")
	inputs := described()
	inputs["INPUT_REF"], inputs["INPUT_RECHUNK"] = "localhost/exampleos/os:build", "ghcr.io/hhd-dev/rechunk:latest"
	inputs["INPUT_PREV_REF"], inputs["INPUT_KEEP_REF"] = "registry.example/os:latest", "true"
	r.must("rechunk", inputs)
	location := r.path("work/os_build")
	if r.outputs["ref"] != "oci:"+location || r.outputs["location"] != location || r.outputs["version"] != "3.1_240305" {
		t.Errorf("outputs: %q", r.outputs)
	}
	if got := r.read("work/os_build.changelog.txt"); r.outputs["changelog"] != location+".changelog.txt" ||
		got != "# 3.1_240305 (Stable)\nsince <previous>\n-\n-\n" {
		t.Errorf("the changelog %s: %q", r.outputs["changelog"], got)
	}
	var manifest struct {
		Labels map[string]string
		Layers []string
	}
	if err := json.Unmarshal([]byte(r.read("work/os_build.manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	if r.outputs["manifest"] != location+".manifest.json" || len(manifest.Layers) < 2 {
		t.Errorf("the manifest: %+v", manifest)
	}
	for name, want := range map[string]string{
		"org.opencontainers.image.version": "3.1_240305", "org.opencontainers.image.title": "Example Stable",
		"org.opencontainers.image.description": inputs["INPUT_DESCRIPTION"], "app": "1.0-r0", "containers.bootc": "1",
		"org.opencontainers.image.revision": "HEAD",
	} {
		if got := manifest.Labels[name]; got != want {
			t.Errorf("the label %s is %q, want %q", name, got, want)
		}
	}
	if got := r.commands(); len(got) != 3 || !strings.HasPrefix(got[0], "::warning::the input rechunk has no effect") ||
		!strings.HasPrefix(got[1], "::warning::the image is made without the previous one") ||
		got[2] != "::warning::the input formatters has an unknown name: other=x" {
		t.Errorf("the runner is told %q:\n%s", got, r.log)
	}

	// The next image continues: version, changelog and layers.
	r.sh("podman image exists localhost/exampleos/os:build && skopeo copy -q oci:" + location +
		" docker://registry.example/os:latest")
	r.sh("git tag before && git commit -q --allow-empty -m 'second | <pkgupd>'")
	r.sh("ostree-ext compose rechunk -q --version=3.1_240305 --revision=before --prior=none oci:" + location +
		" docker://registry.example/os:latest")
	r.tree("1.1-r0")
	r.sh("ostree-ext container build -q --rootfs=rootfs containers-storage:localhost/exampleos/os:build")
	for _, name := range []string{"INPUT_RECHUNK", "INPUT_KEEP_REF"} {
		delete(inputs, name)
	}
	inputs["INPUT_FORMATTERS"] = strings.TrimSuffix(inputs["INPUT_FORMATTERS"], "other=x")
	inputs["INPUT_PREV_REF_FAIL"] = "true"
	r.must("rechunk", inputs)
	if got := r.read("work/os_build.changelog.txt"); r.outputs["version"] != "3.1_240305.1" ||
		got != "# 3.1_240305.1 (Stable)\nsince 3.1_240305\n- second | <pkgupd>\n* app 1.0 1.1\n" {
		t.Errorf("%s: the changelog %q\n%s", r.outputs["version"], got, r.log)
	}
	if !strings.Contains(r.log, "apk/big: unchanged\n") {
		t.Errorf("the layers were planned afresh:\n%s", r.log)
	}
	if got := r.commands(); len(got) > 0 {
		t.Errorf("the runner is told %q:\n%s", got, r.log)
	}
	r.sh("! podman image exists localhost/exampleos/os:build")

	// A plan from scratch still knows the previous version.
	inputs["INPUT_REF"], inputs["INPUT_CLEAR_PLAN"], inputs["INPUT_MAX_LAYERS"] = "oci:"+location, "1", "3"
	r.sh("mkdir other")
	r.env = append(r.env, "GITHUB_WORKSPACE="+r.path("work/other"))
	r.must("rechunk", inputs)
	if !strings.Contains(r.log, "layers: 3\n") || strings.Contains(r.log, "unchanged") ||
		r.outputs["version"] != "3.1_240305.1" {
		t.Errorf("%q:\n%s", r.outputs, r.log)
	}
	inputs["INPUT_PREV_REF"] = "registry.example/absent"
	if r.step("rechunk", inputs) || !strings.Contains(r.log, "::error::the input prev-ref cannot be read") {
		t.Errorf("a previous image that is absent:\n%s", r.log)
	}
	r.write("work/other/precious/file", "")
	inputs["INPUT_PREV_REF"], inputs["INPUT_REF"] = "", "registry.example/os/precious"
	if r.step("rechunk", inputs) || !strings.Contains(r.log, "is in the way") || r.read("work/other/precious/file") != "" {
		t.Errorf("a directory with other files:\n%s", r.log)
	}
}

// storage returns the variables for a storage of podman's of the runner's own.
func (r *runner) storage() []string {
	r.write("storage.conf", "[storage]\ndriver = \"vfs\"\nrunroot = \""+r.path("run")+"\"\ngraphroot = \""+
		r.path("storage")+"\"\n")
	return []string{"CONTAINERS_STORAGE_CONF=" + r.path("storage.conf")}
}

func TestInterop_TheTemplateForGitLabBuildsAndSignsAsTheJob(t *testing.T) {
	t.Parallel()
	var template map[string]struct {
		Before  []string          `yaml:"before_script"`
		Script  []string          `yaml:"script"`
		Tokens  map[string]any    `yaml:"id_tokens"`
		Ignored map[string]string `yaml:"variables"`
	}
	readYAML(t, "tools/gitlab/ostree-ext.gitlab-ci.yml", &template)
	job := template[".ostree-ext"]
	if len(job.Before) == 0 || len(job.Script) == 0 || job.Tokens["SIGSTORE_ID_TOKEN"] == nil {
		t.Fatalf("%+v", template)
	}
	const identity = "robot@example.com"
	const issuer = "https://gitlab.example"
	r := newRunner(t)
	r.tree("1.0-r0")
	authority := testca.New(t)
	s := authority.Serve(t)
	r.write("signing.json", string(authority.SigningConfig(s.URL)))
	r.write("trusted_root.json", string(authority.Root().JSON()))
	r.rule("oidcIssuer: " + issuer + "\n      identity: " + identity + "\n      trustedRoot: " +
		r.path("trusted_root.json"))
	r.write("ca.crt", r.read("named-ca.crt")+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	r.env = append(r.env, "SSL_CERT_FILE="+r.path("ca.crt"), "CI_PROJECT_DIR="+r.path("work"),
		"CI_REGISTRY=registry.example", "CI_REGISTRY_IMAGE=registry.example/os", "CI_COMMIT_REF_SLUG=main",
		"CI_REGISTRY_USER=job", "CI_REGISTRY_PASSWORD=secret", "SIGSTORE_ID_TOKEN="+s.IdentityToken(identity, issuer),
		"OSTREE_EXT_DOWNLOAD=https://releases.example", "OSTREE_EXT_ROOTFS=rootfs",
		"OSTREE_EXT_SIGNING_CONFIG="+r.path("signing.json"),
		"OSTREE_EXT_ARGUMENTS=--format=ostree\n--label=a="+hostile)
	// The runner for GitLab gives both parts to one shell.
	r.sh(strings.Join(append(job.Before, job.Script...), "\n"))
	env := r.read("work/ostree-ext.env")
	digest := strings.TrimSpace(r.read("work/ostree-ext.digest"))
	if env != "IMAGE=registry.example/os:main\nDIGEST="+digest+"\n" || len(digest) != len("sha256:")+64 {
		t.Errorf("the file for later jobs: %q", env)
	}
	if got := r.labels("docker://registry.example/os:main")["a"]; got != hostile {
		t.Errorf("the label is %q", got)
	}
	r.env = append(r.env, "PATH="+r.path("work/.ostree-ext")+":"+os.Getenv("PATH"))
	r.sh("ostree-ext repo init --repo=r --mode=bare-user-only")
	r.sh("ostree-ext container image pull -q r ostree-image-signed:docker://registry.example/os:main")
	if found := r.sh("find .. -name pwned"); found != "" {
		t.Errorf("a command of a variable ran: %s", found)
	}
}

// TestInterop_ScriptsPassShellCheck checks each script of the shell in tools, and that of CI.
func TestInterop_ScriptsPassShellCheck(t *testing.T) {
	t.Parallel()
	scripts := []string{".ci/run"}
	err := filepath.WalkDir(filepath.Join(root, "tools"), func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(data), "\n")
		if strings.HasSuffix(first, "bash") || strings.HasSuffix(first, "sh") || strings.Contains(first, "shell=bash") {
			rel, err := filepath.Rel(root, name)
			scripts = append(scripts, rel)
			return err
		}
		return nil
	})
	if err != nil || len(scripts) < 10 {
		t.Fatalf("found %q, %v", scripts, err)
	}
	c := exec.CommandContext(t.Context(), "shellcheck", append([]string{"-x"}, scripts...)...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}

func TestInterop_WorkflowsPassActionlint(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(filepath.Join(root, ".github/workflows/*.yml"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%q, %v", names, err)
	}
	for i := range names {
		names[i] = filepath.Join(".github/workflows", filepath.Base(names[i]))
	}
	args := append([]string{"tool", "-modfile=tools/actionlint/go.mod", "actionlint"}, names...)
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}
