package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// layer describes a layer of an image: its components as "ID DIGEST SIZE", where DIGEST is any text, and the names of
// its packages.
type layer struct {
	content    string // the diff-id
	blob       string // the digest of the blob, if it is not that of the content
	bytes      int
	components []string
	packages   string
	history    string
}

// described describes an image. Unless it is plain, the first layer holds the directories, and it has a plan.
type described struct {
	name     string
	plain    bool
	layers   []layer
	packages string
	labels   map[string]string
	changes  map[string]int
}

// open returns the image.
func (d described) open(t testing.TB) *oci.Image {
	t.Helper()
	type object = map[string]any
	var layers, history []object
	var diffIDs []string
	record := chunking.Record{Format: "plain-1", Reference: 20400, Components: map[string]chunking.Known{}}
	for i, l := range d.layers {
		diffIDs = append(diffIDs, digest.FromString(l.content).String())
		history = append(history, object{"created_by": l.history})
		layers = append(layers, object{
			"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": l.bytes,
			"digest":      digest.FromString("blob " + l.blob + l.content).String(),
			"annotations": object{"ostree.components": l.packages},
		})
		if i == 0 {
			continue
		}
		var ids []string
		for _, c := range l.components {
			var id, text string
			var size uint64
			if _, err := fmt.Sscanf(c, "%s %s %d", &id, &text, &size); err != nil {
				t.Fatalf("%q: %v", c, err)
			}
			known := chunking.Known{First: 20000, Last: 20300, Size: size, Density: 400, Changes: d.changes[id]}
			copy(known.Digest[:], text)
			record.Components[id] = known
			ids = append(ids, id)
		}
		slices.Sort(ids)
		record.Layers = append(record.Layers, chunking.RecordLayer{Components: ids})
	}
	labels := object{}
	for k, v := range d.labels {
		labels[k] = v
	}
	if d.packages != "" {
		labels[chunking.LabelPackages] = d.packages
	}
	if !d.plain {
		if err := record.Bind(0, diffIDs); err != nil {
			t.Fatal(err)
		}
		text, err := record.Encode()
		if err != nil {
			t.Fatal(err)
		}
		labels[chunking.LabelRecord] = text
	}
	config := marshal(t, object{"architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
		"config": object{"Labels": labels}, "rootfs": object{"type": "layers", "diff_ids": diffIDs}, "history": history})
	manifest := marshal(t, object{"schemaVersion": 2, "layers": layers, "config": object{
		"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(config),
		"digest": digest.FromBytes(config).String()}})
	img, err := oci.FromStored(manifest, config)
	if err != nil {
		t.Fatal(err)
	}
	img.Name = d.name
	return img
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// first is the first layer of an image that is split.
var first = layer{content: "directories", bytes: 1000, history: "directories"}

// older and newer are two images with everything that can happen to a layer.
func older() described {
	return described{name: "oci:os:older", layers: []layer{
		first,
		{content: "ssl 1", bytes: 4000, components: []string{"deb/openssl ssl1 10000"}, packages: "libssl3,openssl"},
		{content: "small 1", bytes: 3000, packages: "bash,gpg,gpgv,tar",
			components: []string{"deb/bash bash1 3000", "deb/gnupg2 gpg1 3000", "deb/tar tar1 1500"}},
		{content: "git", bytes: 5000, components: []string{"deb/git git1 12000"}, packages: "git"},
		{content: "two", bytes: 700, components: []string{"deb/nano nano1 900", "deb/vim vim1 900"}, packages: "nano,vim"},
		{content: "a and b", bytes: 500, components: []string{"file/a a1 600", "file/b b1 600"}},
		{content: "database 1", bytes: 200, components: []string{"sys/pkgdb db1 900"}},
		{content: "kept", bytes: 90000, components: []string{"deb/linux linux1 200000"}, packages: "linux-image"},
	}, packages: `{"deb":{"libssl3":"3.0.15","openssl":"3.0.15","bash":"5.2",` +
		`"gpg":"2.2.40","gpgv":"2.2.40","tar":"1.34",` +
		`"git":"2.39","nano":"7","vim":"9","linux-image":"6.1"}}`,
		labels: map[string]string{"org.opencontainers.image.version": "1"}}
}

func newer() described {
	return described{name: "oci:os:newer", layers: []layer{
		first,
		{content: "ssl 2", bytes: 4100, components: []string{"deb/openssl ssl2 10100"}, packages: "libssl3,openssl"},
		{content: "small 2", bytes: 3100, packages: "bash,gpg,gpgv,tar",
			components: []string{"deb/bash bash1 3000", "deb/gnupg2 gpg2 3000", "deb/tar tar2 1500"}},
		{content: "git", blob: "other", bytes: 4900, components: []string{"deb/git git1 12000"}, packages: "git"},
		{content: "one", bytes: 400, components: []string{"deb/nano nano1 900"}, packages: "nano"},
		{content: "a", bytes: 250, components: []string{"file/a a1 600"}},
		{content: "b", bytes: 260, components: []string{"file/b b1 600"}},
		{content: "database 2", bytes: 210, components: []string{"sys/pkgdb db2 900"}},
		{content: "new", bytes: 600, components: []string{"deb/jq jq1 1000"}, packages: "jq"},
		{content: "kept", bytes: 90000, components: []string{"deb/linux linux1 200000"}, packages: "linux-image"},
		{content: "on top", bytes: 50, history: "RUN make install", components: []string{}},
	}, packages: `{"deb":{"libssl3":"3.0.16","openssl":"3.0.16","bash":"5.2",` +
		`"gpg":"2.2.41","gpgv":"2.2.41","tar":"1.35",` +
		`"git":"2.39","nano":"7","jq":"1.6","linux-image":"6.1"}}`,
		labels:  map[string]string{"org.opencontainers.image.version": "2"},
		changes: map[string]int{"deb/openssl": 1, "sys/pkgdb": 9}}
}

// hostile is an image whose every text is one that would do harm in a page.
const hostile = "</title><script>alert(1)</script><img/src=x/onerror=alert(1)>\"'`]]>{{.}}\u202e\u2066\x1b[31m"

func hostileImage(suffix string) described {
	id := "deb/" + hostile
	return described{name: hostile, layers: []layer{
		{content: "directories" + suffix, bytes: 10, history: hostile},
		{content: "x" + suffix, bytes: 20, components: []string{id + " d" + suffix + " 100"}, packages: hostile,
			history: hostile},
		{content: "y" + suffix, bytes: 30, packages: "<b>y</b>", history: hostile + suffix},
	}, labels: map[string]string{"org.opencontainers.image.version": hostile + suffix}}
}

// page returns a page as text.
func page(t testing.TB, write func(w *bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// visible returns the text of a page without its head, scripts and tips.
func visible(page string) string {
	_, page, _ = strings.Cut(page, "<body>")
	page, _, _ = strings.Cut(page, "<script>")
	var out strings.Builder
	for {
		text, rest, ok := strings.Cut(page, "<")
		out.WriteString(text)
		if !ok {
			break
		}
		tag, after, _ := strings.Cut(rest, ">")
		switch name := strings.TrimPrefix(strings.Fields(tag)[0], "/"); name {
		case "svg", "title":
			if !strings.HasPrefix(tag, "/") {
				_, after, _ = strings.Cut(after, "</"+name+">")
			}
		case "td", "th", "span", "dd":
			out.WriteString(" ")
		case "details":
			if !strings.HasPrefix(tag, "/") {
				out.WriteString("▸ ")
			}
		}
		page = after
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if line = strings.Join(strings.Fields(strings.ReplaceAll(line, "\u00a0", " ")), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
