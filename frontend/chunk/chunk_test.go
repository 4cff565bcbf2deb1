package chunk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/frontend/chunk"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	epoch = time.Unix(1700000000, 0).UTC()
)

// run runs the step on files, and returns the result, the layout and the log.
func run(t *testing.T, req chunk.Request, files map[string]string) (*chunk.Result, string, string) {
	t.Helper()
	in := t.TempDir()
	for p, content := range files {
		name := filepath.Join(in, p)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return runIn(t, req, in)
}

// runIn runs the step on a directory.
func runIn(t *testing.T, req chunk.Request, in string) (*chunk.Result, string, string) {
	t.Helper()
	dir := t.TempDir()
	dirs := chunk.Dirs{In: in, Layout: filepath.Join(dir, "layout"), Result: filepath.Join(dir, "result")}
	for _, d := range []string{dirs.Layout, dirs.Result} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	if err := chunk.Run(t.Context(), req, dirs, &log); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dirs.Result, chunk.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	result, err := chunk.ParseResult(data)
	if err != nil {
		t.Fatal(err)
	}
	return result, dirs.Layout, log.String()
}

func plainRequest() chunk.Request {
	return chunk.Request{Options: request.Options{Format: request.Plain}, Config: json.RawMessage(`{"Cmd":["sh"]}`),
		Platform: amd64, Created: &epoch}
}

var files = map[string]string{
	"usr/bin/one": strings.Repeat("one ", 5000), "usr/bin/two": strings.Repeat("two ", 5000), "etc/motd": "hello",
	"srv/data": "data",
}

func TestTheStepLeavesALayoutAndSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	result, layout, log := run(t, plainRequest(), files)
	for i, l := range result.Layers {
		data, err := os.ReadFile(filepath.Join(layout, "blobs/sha256", l.Descriptor.Digest.Encoded()))
		if err != nil {
			t.Fatal(err)
		}
		if l.Origin != chunk.Made || int64(len(data)) != l.Descriptor.Size || digest.FromBytes(data) != l.Descriptor.Digest {
			t.Errorf("layer %d is %+v, its blob has %d bytes and digest %s", i, l, len(data), digest.FromBytes(data))
		}
	}
	if len(result.Layers) < 2 || strings.TrimSuffix(log, "\n") != result.Outcome.String() {
		t.Errorf("%d layers; the log is\n%s", len(result.Layers), log)
	}
	var config ocispec.Image
	if err := json.Unmarshal(result.Config, &config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sh"}, config.Config.Cmd); diff != "" {
		t.Errorf("CMD (-want +got):\n%s", diff)
	}
	if !config.Created.Equal(epoch) || len(config.History) != len(result.Layers) {
		t.Errorf("created %s, %d entries of history", config.Created, len(config.History))
	}
	for i, h := range config.History {
		if h.Created == nil || h.EmptyLayer {
			t.Errorf("entry %d of history is %+v: BuildKit would add one with the current time", i, h)
		}
	}
}

func TestTheLogEndsWithWhatMakesUpdatesLarger(t *testing.T) {
	t.Parallel()
	logged := map[string]string{"var/log/build.log": strings.Repeat("line\n", 1000)}
	for p, content := range files {
		logged[p] = content
	}
	_, _, log := run(t, plainRequest(), logged)
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if n := len(lines); n < 3 || !strings.Contains(lines[n-2], "more than it needs: logs ") ||
		!strings.HasPrefix(lines[n-1], "advice: to end logs: ") || !strings.Contains(lines[n-3], "layers: ") {
		t.Errorf("the log is\n%s", log)
	}
	if _, _, log = run(t, plainRequest(), files); strings.Contains(log, "advice") {
		t.Errorf("without logs, the log is\n%s", log)
	}
}

func TestEqualRequestsGiveEqualResults(t *testing.T) {
	t.Parallel()
	for _, format := range []string{request.Plain, request.OSTree} {
		req := plainRequest()
		req.Options.Format = format
		a, _, _ := run(t, req, files)
		b, _, _ := run(t, req, files)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
	}
}

func TestLayersOfThePriorImageAreNamedInsteadOfMade(t *testing.T) {
	t.Parallel()
	first, _, _ := run(t, plainRequest(), files)
	req := plainRequest()
	req.Prior = first.Config
	changed := map[string]string{}
	for p, content := range files {
		changed[p] = content
	}
	changed["srv/data"] = "other data"

	for _, l := range first.Layers {
		req.PriorLayers = append(req.PriorLayers, l.Descriptor)
	}
	second, _, log := run(t, req, changed)
	kept := 0
	for i, l := range second.Layers {
		if l.Origin == chunk.FromPrior {
			kept++
			if want := first.Layers[l.Index]; l.DiffID != want.DiffID || l.Name != want.Name ||
				l.Descriptor.Digest != want.Descriptor.Digest {
				t.Errorf("layer %d is said to be %s of the prior image, and is not %s", i, want.DiffID, l.DiffID)
			}
		}
	}
	says := fmt.Sprintf(": %d new, %d kept; ", len(second.Layers)-kept, kept)
	if kept == 0 || kept == len(second.Layers) || !strings.Contains(log, says) {
		t.Errorf("%d of %d layers kept:\n%s", kept, len(second.Layers), log)
	}

	req.PriorLayers = nil
	remade, _, _ := run(t, req, changed)
	if got, want := len(remade.From(chunk.Made)), len(second.Layers); got != want {
		t.Errorf("%d layers are made of %d", got, want)
	}
	for i, l := range remade.Layers {
		if l.DiffID != second.Layers[i].DiffID {
			t.Errorf("layer %d differs: the order does not stay", i)
		}
	}

	req.Options.Format = request.OSTree
	other, _, _ := run(t, req, changed)
	if len(other.From(chunk.Made)) != len(other.Layers) ||
		!strings.Contains(strings.Join(other.Warnings, "\n"), "single layer") {
		t.Errorf("an image of another format: %d of %d layers made, warnings %q", len(other.From(chunk.Made)),
			len(other.Layers), other.Warnings)
	}
}

func TestWhatIsWrongWithTheInputIsAResult(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		edit  func(*chunk.Request)
		files map[string]string
		want  string
	}{
		{"no files", func(*chunk.Request) {}, nil, "no files"},
		{"no repository", func(r *chunk.Request) { r.Options = request.Options{Ref: "x"} }, files,
			"there is no OSTree repository"},
		{"a repository elsewhere", func(r *chunk.Request) { r.Options = request.Options{Ref: "x", Repo: "../../etc"} }, files,
			"looked at ../../etc"},
		{"a mapping that is none", func(r *chunk.Request) { r.Mapping = []byte("x") }, files, "mapping"},
		{"a prior image that is none", func(r *chunk.Request) { r.Prior = []byte("{}") }, files, ""},
		{"too few layers", func(r *chunk.Request) { r.Options.MaxLayers = 1000 }, files, "layers"},
		{"contradicting options", func(r *chunk.Request) { r.Options.SingleLayer, r.Options.MaxLayers = true, 3 }, files,
			"choose one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := plainRequest()
			tt.edit(&req)
			result, _, log := run(t, req, tt.files)
			if !strings.Contains(result.Error, tt.want) || (tt.want == "") != (result.Error == "") {
				t.Errorf("error %q, want %q", result.Error, tt.want)
			}
			if !strings.Contains(log, printable.Line(result.Error)) {
				t.Errorf("the log does not have the error:\n%s", log)
			}
		})
	}
}

func TestMarksTellBlobsApart(t *testing.T) {
	t.Parallel()
	marks := map[string]string{}
	for name, o := range map[string]request.Options{"gzip": {}, "fast": {Fast: true}, "zstd": {Compression: "zstd"},
		"none": {Compression: "none"}} {
		req := plainRequest()
		o.Format = request.Plain
		req.Options = o
		result, _, _ := run(t, req, files)
		for i, l := range result.Layers {
			mark, err := chunk.Subset{}.Mark(result, i)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := marks[string(mark)]; ok {
				t.Errorf("%s of %s and %s have the same mark", l.Name, name, other)
			}
			marks[string(mark)] = l.Name + " of " + name
		}
	}
}

func TestParseResultRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	sum := digest.FromString("x")
	layer := chunk.Layer{DiffID: sum, Descriptor: ocispec.Descriptor{Digest: sum}, Origin: chunk.Made}
	many := make([]chunk.Layer, 2000)
	for i := range many {
		many[i] = layer
	}
	for name, r := range map[string]chunk.Result{
		"no layers":       {},
		"too many layers": {Layers: many},
		"no diff-id":      {Layers: []chunk.Layer{{Descriptor: layer.Descriptor}}},
		"no digest":       {Layers: []chunk.Layer{{DiffID: sum}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := chunk.ParseResult(data); err == nil {
				t.Errorf("result %+v, want an error", got)
			}
		})
	}
}

func TestExportedConfigurationIsInBuildKitsForm(t *testing.T) {
	t.Parallel()
	req := plainRequest()
	req.Author = "me"
	result, _, _ := run(t, req, files)
	data, err := result.ExportConfig()
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(result.Config, &want); err != nil {
		t.Fatal(err)
	}
	want["author"] = "me"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-ours +exported):\n%s", diff)
	}
	// The exporter decodes and encodes the object.
	again := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if encoded, err := json.Marshal(again); err != nil || !bytes.Equal(encoded, data) {
		t.Errorf("%v: the form is not stable:\n%s\n%s", err, data, encoded)
	}
}
