package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ostree-ext/ostree-ext-go/internal/testreg"
)

// formats is the page that documents the output.
const formats = "../../docs/formats.md"

// documented are the documented fields of one section of the page.
type documented struct {
	types map[string]string // of each field, by its path
	seen  map[string]bool
}

var (
	sectionLine = regexp.MustCompile("^### `(.*)`$")
	alsoNames   = regexp.MustCompile("`([a-z -]+)`")
	fieldLine   = regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\|")
)

// readFormats returns the fields of each command. Commands with the same output share them.
func readFormats(t *testing.T) map[string]*documented {
	t.Helper()
	data, err := os.ReadFile(formats)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(data), "\n## `--json`\n")
	if !ok {
		t.Fatal("there is no section about --json")
	}
	all := map[string]*documented{}
	var now *documented
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			now = &documented{map[string]string{}, map[string]bool{}}
			all[m[1]] = now
		} else if strings.HasPrefix(line, "Also `") {
			for _, m := range alsoNames.FindAllStringSubmatch(line[:strings.IndexAny(line+".", ".,")], -1) {
				all[m[1]] = now
			}
		} else if m := fieldLine.FindStringSubmatch(line); m != nil {
			now.types[m[1]] = m[2]
		}
	}
	return all
}

func TestEveryCommandThatPrintsJSONIsDocumented(t *testing.T) {
	var want []string
	for _, c := range commands(t) {
		if c.Flags().Lookup("json") != nil {
			want = append(want, strings.TrimPrefix(c.CommandPath(), "ostree-ext "))
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(readFormats(t))); !slices.Equal(got, want) {
		t.Errorf("the page has %q, the program %q", got, want)
	}
}

// check compares an object with the documented fields whose paths begin with a prefix. The fields of objects that are
// specified elsewhere are not documented.
func (d *documented) check(t *testing.T, prefix string, object map[string]any) {
	t.Helper()
	below := func(key string) bool { return strings.HasPrefix(key, prefix) }
	if prefix != "" && !slices.ContainsFunc(slices.Collect(maps.Keys(d.types)), below) {
		return
	}
	for name, v := range object {
		path := prefix + name
		if _, any := d.types[prefix+"*"]; any {
			path = prefix + "*"
		}
		typ, ok := d.types[path]
		if !ok {
			t.Errorf("the field %s is not documented", path)
			continue
		}
		d.seen[path] = true
		if !ofType(v, strings.TrimSuffix(typ, ", optional")) {
			t.Errorf("the field %s is %v, documented as %s", path, v, typ)
		}
		switch v := v.(type) {
		case map[string]any:
			d.check(t, path+".", v)
		case []any:
			for _, element := range v {
				if object, ok := element.(map[string]any); ok {
					d.check(t, path+"[].", object)
				}
			}
		}
	}
}

// ofType reports whether a value has the type that the page gives.
func ofType(v any, typ string) bool {
	if rest, ok := strings.CutSuffix(typ, " or null"); ok {
		return v == nil || ofType(v, rest)
	}
	array, isArray := v.([]any)
	if rest, ok := strings.CutPrefix(typ, "array of "); ok {
		return isArray && !slices.ContainsFunc(array, func(e any) bool { return !ofType(e, strings.TrimSuffix(rest, "s")) })
	}
	switch typ {
	case "array":
		return isArray
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "number", "integer":
		n, ok := v.(json.Number)
		return ok && (typ == "number" || !strings.ContainsAny(n.String(), ".eE"))
	}
	return false
}

// session runs commands in one directory.
type session struct {
	t   *testing.T
	dir string
	doc map[string]*documented
}

// run runs a command and returns its output. @ in arguments stands for the directory.
func (s *session) run(status int, in, line string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	args := strings.Fields(strings.ReplaceAll(line, "@", s.dir+"/"))
	if got := run(s.t.Context(), args, streams{in: strings.NewReader(in), out: &out, err: &errs}); got != status {
		s.t.Fatalf("%s: status %d, want %d: %s", line, got, status, &errs)
	}
	return out.String()
}

// json runs a command with --json and compares its output with the page.
func (s *session) json(status int, command, line string) {
	s.t.Helper()
	s.jsonOf(status, "", command, line)
}

func (s *session) jsonOf(status int, in, command, line string) {
	s.t.Helper()
	d := s.doc[command]
	if d == nil {
		s.t.Errorf("%s is not documented", command)
		return
	}
	dec := json.NewDecoder(strings.NewReader(s.run(status, in, command+" --json "+line)))
	dec.UseNumber()
	for n := 0; ; n++ {
		var v map[string]any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) && n > 0 {
			return
		}
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		d.check(s.t, "", v)
		for key, typ := range d.types {
			if _, ok := v[key]; !ok && !strings.ContainsAny(key, ".*") && !strings.HasSuffix(typ, "optional") {
				s.t.Errorf("%s %s: the field %s is absent", command, line, key)
			}
		}
	}
}

// unseen are fields that do not occur in any run of this test.
var unseen = []string{
	"revision",
	"advice", // it is about policy.json, which needs a build tag
}

func TestJSONIsAsDocumented(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	s := &session{t, t.TempDir(), readFormats(t)}
	files := map[string]string{
		"usr/bin/hello": "hello", "usr/lib/motd": "welcome", "run/lock": "x", "var/log/x": "x",
		"var/lib/dpkg/status":          "Package: hello\nStatus: install ok installed\nArchitecture: amd64\n\n",
		"var/lib/dpkg/info/hello.list": "/usr/bin/hello\n",
	}
	for name, content := range files {
		writeTestFile(t, filepath.Join(s.dir, "tree", name), content)
	}
	if err := os.Symlink("hello", filepath.Join(s.dir, "tree/usr/bin/hi")); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, filepath.Join(s.dir, "rootfs/usr/bin/hello"), "hello")

	s.json(exitOK, "version", "")
	s.run(exitOK, "", "repo init --repo=@repo --mode=bare-user-only")
	s.json(exitOK, "repo commit", "--repo=@repo --branch=os --no-bindings @rootfs")
	writeTestFile(t, filepath.Join(s.dir, "rootfs/usr/bin/new"), "new")
	s.json(exitOK, "repo commit",
		"--repo=@repo --branch=os --add-metadata-string=version=2 --add-detached-metadata-string=signed=no @rootfs")
	s.json(exitOK, "repo show", "--repo=@repo os")
	s.json(exitOK, "repo ls", "--repo=@repo -R os /")
	s.json(exitOK, "repo refs", "--repo=@repo")
	s.json(exitOK, "repo fsck", "--repo=@repo")
	s.json(exitOK, "repo prune", "--repo=@repo --no-prune --refs-only --depth=0")
	s.json(exitOK, "diff", "--repo=@repo os^ os")
	s.run(exitOK, "", "repo init --repo=@copy --mode=bare-user")
	s.jsonOf(exitOK, s.run(exitOK, "", "tar export --repo=@repo os"), "tar import", "--repo=@copy --write-ref=os -")

	s.json(exitOK, "chunks plan", "--rootfs=@tree")
	s.json(exitOK, "chunks explain", "--rootfs=@tree /usr/bin/hello")
	s.json(exitOK, "container build", "-q --rootfs=@tree --max-layers=499 oci:@one")
	s.json(exitOK, "container build", "-q --rootfs=@tree --format=ostree --repo=@copy --write-ref=tree oci:@os")
	s.json(exitOK, "repo ls", "--repo=@copy -R tree /")
	s.json(exitOK, "container build", "-q --rootfs=@tree --prepare=ostree oci:@prepared")
	s.json(exitOK, "compose build-chunked-oci", "-q --bootc --rootfs=@tree --output=oci:@composed")
	s.json(exitOK, "chunks plan", "--rootfs=@tree --prior=oci:@one --max-layers=499")
	s.json(exitOK, "chunks show", "oci:@one")
	s.json(exitOK, "advise", "@tree")
	s.json(exitOK, "advise", "@tree oci:@os")
	writeTestFile(t, filepath.Join(s.dir, "tree/usr/bin/hello"), "changed")
	s.json(exitOK, "rechunk", "-q --prior=none oci:@os oci:@again")
	s.json(exitOK, "compose rechunk", "-q --version=2 --changelog=<previous> --previous=oci:@os oci:@os oci:@described")
	s.json(exitOK, "compose rechunk", "-q --prepare=ostree --version=2 --previous=oci:@described "+
		"--prior=oci:@described oci:@one oci:@described")
	s.json(exitOK, "container build", "-q --rootfs=@tree --prior=oci:@one --max-layers=499 oci:@two")
	s.json(exitOK, "chunks diff", "oci:@one oci:@two")
	s.json(exitOK, "chunks diff", "oci:@one oci:@os")
	s.json(exitOK, "container encapsulate", "-q --repo=@repo os oci:@image")
	s.run(exitOK, "", "repo commit --repo=@repo --branch=tree @tree")
	s.json(exitOK, "container encapsulate", "-q --repo=@repo tree oci:@logged")
	s.json(exitOK, "container encapsulate", "-q --repo=@repo os oci:@image")
	s.json(exitOK, "container unencapsulate", "-q --repo=@copy --write-ref=back ostree-unverified-image:oci:@image")
	s.json(exitOK, "container info", "ostree-unverified-image:oci:@image")
	s.json(exitOK, "container compare", "ostree-unverified-image:oci:@image ostree-unverified-image:oci:@os")
	s.json(exitOK, "container verify", "-q oci:@image")
	s.run(exitOK, "", "repo init --repo=@host --mode=bare-user")
	s.json(exitOK, "container image pull", "-q @host ostree-unverified-image:oci:@image")
	s.json(exitOK, "container image pull", "-q @host ostree-unverified-image:oci:@two")
	s.run(exitOK, "", "rechunk -q --prior=none --label=version=3 oci:@two oci:@two")
	s.run(exitOK, "", "container image pull --check=@manifest @host ostree-unverified-image:oci:@two")
	s.run(exitOK, "", "repo commit --repo=@host --branch=other @rootfs")
	s.run(exitOK, "", "repo refs --repo=@host --create=ostree/container/image/oci_3A_broken other")
	s.json(exitOK, "container image list", "--repo=@host")
	host, commits := makeImageHost(t)
	s.json(exitOK, "container image status", "--sysroot="+host)
	image := bootableImage(t, "kernel")
	// A deployment that is not pinned any more goes.
	origin := filepath.Join(host, "ostree/deploy/default/deploy", commits[1].String()+".0.origin")
	writeTestFile(t, origin, "[origin]\nrefspec=vendor:os\n")
	deploy := "-q --allow-unverified --imgref=" + image + " --sysroot=" + host
	s.json(exitOK, "container image deploy", "--dry-run "+deploy)
	s.run(exitOK, "", "container image deploy --download-only "+deploy)
	s.json(exitOK, "container image deploy", "--dry-run "+deploy)
	s.json(exitFailure, "container image repair", "-q --repo=@host")
	s.trustInit()
	s.signatures()
	s.derive("image", "derived")
	s.json(exitOK, "container verify", "-q oci:@derived")
	s.updates()

	for _, name := range slices.Sorted(maps.Keys(s.doc)) {
		for _, key := range slices.Sorted(maps.Keys(s.doc[name].types)) {
			if !s.doc[name].seen[key] && !slices.Contains(unseen, key) {
				t.Errorf("%s never has the field %s, which is documented", name, key)
			}
		}
	}
}

// trustInit plans the files of a host, one of which is a copy of another one.
func (s *session) trustInit() {
	s.t.Helper()
	key, err := os.ReadFile("../../container/trust/setup/testdata/keys/first.pub")
	if err != nil {
		s.t.Fatal(err)
	}
	writeTestFile(s.t, filepath.Join(s.dir, "key.pub"), string(key))
	writeTestFile(s.t, filepath.Join(s.dir, "trusting/usr/share/containers/policy.json"),
		`{"default": [{"type": "insecureAcceptAnything"}]}`)
	s.json(exitOK, "container trust init", "--key=@key.pub --root=@trusting registry.example/os")
}

// signatures signs images in a registry.
func (s *session) signatures() {
	s.t.Helper()
	reg := testreg.New(s.t)
	key, public, err := newSigningKey()
	if err != nil {
		s.t.Fatal(err)
	}
	writeTestFile(s.t, filepath.Join(s.dir, "cosign.key"), string(key))
	writeTestFile(s.t, filepath.Join(s.dir, "cosign.pub"), string(public))
	flags := "-q --insecure-skip-tls-verification --sign-by-sigstore-private-key=@cosign.key "
	s.json(exitOK, "container build", flags+"--rootfs=@tree docker://"+reg.Host+"/os:build")
	s.json(exitOK, "compose rechunk", flags+"oci:@one docker://"+reg.Host+"/os:described")
	s.json(exitOK, "container encapsulate", flags+"--repo=@repo os docker://"+reg.Host+"/os:commit")
	var list []string
	for _, tag := range []string{"build", "commit"} {
		out := s.run(exitOK, "", "container info --json --insecure-skip-tls-verification "+
			"ostree-unverified-image:docker://"+reg.Host+"/os:"+tag)
		var info struct{ Digest string }
		if err := json.Unmarshal([]byte(out), &info); err != nil {
			s.t.Fatal(err)
		}
		list = append(list,
			`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"`+info.Digest+`"}`)
	}
	const index = "application/vnd.oci.image.index.v1+json"
	err = reg.Put("os", "index", index,
		[]byte(`{"schemaVersion":2,"mediaType":"`+index+`","manifests":[`+strings.Join(list, ",")+`]}`))
	if err != nil {
		s.t.Fatal(err)
	}
	reg.Misbehave(testreg.Faults{Refuse: func(req *http.Request) int {
		if strings.HasSuffix(req.URL.Path, "/manifests/sha256:"+digestIn(list[1])) {
			return http.StatusNotFound
		}
		return 0
	}})
	s.json(exitOK, "container sign", flags+"docker://"+reg.Host+"/os:index")
	reg.Misbehave(testreg.Faults{})
	s.verified("docker://" + reg.Host + "/os")
}

// verified has images verified that were signed with a key, and one that was not.
func (s *session) verified(name string) {
	s.t.Helper()
	s.t.Setenv("XDG_CONFIG_HOME", filepath.Join(s.dir, "config"))
	writeTestFile(s.t, filepath.Join(s.dir, "config/ostree-ext/trust.d/os.yaml"), "docker:\n  "+
		strings.TrimPrefix(name, "docker://")+":\n    signedBy: [{keyPath: "+filepath.Join(s.dir, "cosign.pub")+"}]\n")
	const insecure = "--insecure-skip-tls-verification "
	const sign = "-q " + insecure + "--sign-by-sigstore-private-key=@cosign.key "
	s.json(exitOK, "container trust check", insecure+name+":index")
	s.run(exitOK, "", "container build -q "+insecure+"--rootfs=@tree --label=signed=no --prior=none "+name+":unsigned")
	s.json(exitFailure, "container trust check", insecure+name+":unsigned")
	s.run(exitOK, "", "repo init --repo=@trusted --mode=bare-user")
	s.json(exitOK, "container image pull", "-q "+insecure+"@trusted ostree-image-signed:"+name+":build")
	s.json(exitOK, "container trust check", "--offline --repo=@trusted "+name+":build")
	s.run(exitOK, "", "container build "+sign+"--rootfs=@tree --label=version=2 "+name+":build")
	s.run(exitOK, "", "container image pull -q "+insecure+"--check=@update @trusted ostree-image-signed:"+name+":build")
	s.json(exitOK, "container image list", "--repo=@trusted")
	s.json(exitOK, "container image diff", "--repo=@trusted "+name+":build")
}

// digestIn returns the hexadecimal digits of the digest in a descriptor.
func digestIn(descriptor string) string {
	_, d, _ := strings.Cut(descriptor, "sha256:")
	return strings.TrimRight(d, `"}`)
}

// updates compares stored images.
func (s *session) updates() {
	s.t.Helper()
	const hello = "Package: hello\nStatus: install ok installed\nArchitecture: amd64\nVersion: "
	for name, content := range map[string]string{
		"old/usr/bin/bye": "1", "old/var/lib/dpkg/info/bye.list": "/usr/bin/bye\n",
		"old/var/lib/dpkg/info/hello.list": "/usr/bin/hello\n", "new/var/lib/dpkg/info/hello.list": "/usr/bin/hello\n",
		"old/usr/bin/hello": "1", "old/usr/lib/modules/6.1/vmlinuz": "1",
		"old/var/lib/dpkg/status":      hello + "1\n\n" + strings.Replace(hello, "hello", "bye", 1) + "1\n\n",
		"old/usr/lib/apk/db/installed": "P:apk\nV:1\n\nnonsense\n\n",
		"new/usr/bin/hello":            "2", "new/usr/lib/modules/6.2/vmlinuz": "2",
		"new/var/lib/dpkg/status":      hello + "2\n\n" + strings.Replace(hello, "hello", "hi", 1) + "1\n\n",
		"new/usr/lib/apk/db/installed": "P:apk\nV:1\n\n",
		"new/usr/lib/passwd":           "user:x:990:991::/:\n", "new/usr/lib/group": "group:x:991:\n",
	} {
		writeTestFile(s.t, filepath.Join(s.dir, name), content)
	}
	for _, name := range []string{"old", "new"} {
		s.run(exitOK, "", "container build -q --format=ostree --prior=none --rootfs=@"+name+
			" --label=version=1 oci:@update-"+name)
	}
	s.json(exitOK, "chunks diff", "oci:@update-old oci:@update-new")
	s.json(exitOK, "chunks history", "oci:@update-old oci:@update-new oci:@update-old")
	s.run(exitOK, "", "repo init --repo=@updated --mode=bare-user")
	s.run(exitOK, "", "container image pull -q @updated ostree-unverified-image:oci:@update-old")
	s.json(exitOK, "container image diff", "--repo=@updated oci:@update-old ostree-unverified-image:oci:@update-new")
	s.run(exitOK, "", "container image pull -q @updated ostree-unverified-image:oci:@update-new")
	s.json(exitOK, "container image diff", "--repo=@updated oci:@update-old oci:@update-new")
	s.json(exitOK, "container image diff", "--repo=@host oci:@two")
	s.json(exitOK, "container image diff", "--repo=@host oci:@two ostree-unverified-image:oci:@derived")
	s.json(exitOK, "container image diff", "--repo=@updated oci:@update-old ostree-unverified-image:oci:@image")
	s.run(exitOK, "", "container build -q --prior=none --rootfs=@rootfs oci:@none1")
	writeTestFile(s.t, filepath.Join(s.dir, "rootfs/usr/bin/new"), "newer")
	s.run(exitOK, "", "container build -q --prior=none --rootfs=@rootfs oci:@none2")
	s.run(exitOK, "", "container image pull -q @updated ostree-unverified-image:oci:@none1")
	s.json(exitOK, "container image diff", "--repo=@updated oci:@none1 ostree-unverified-image:oci:@none2")
}

// derive adds a layer to an image.
func (s *session) derive(from, to string) {
	s.t.Helper()
	p, err := layout.FromPath(filepath.Join(s.dir, from))
	if err != nil {
		s.t.Fatal(err)
	}
	index, err := p.ImageIndex()
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		s.t.Fatal(err)
	}
	img, err := p.Image(list.Manifests[0].Digest)
	if err != nil {
		s.t.Fatal(err)
	}
	img, err = mutate.AppendLayers(img, static.NewLayer(make([]byte, 1024), types.OCIUncompressedLayer))
	if err != nil {
		s.t.Fatal(err)
	}
	out := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})
	if _, err := layout.Write(filepath.Join(s.dir, to), out); err != nil {
		s.t.Fatal(err)
	}
}

func writeTestFile(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}
