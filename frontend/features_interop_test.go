//go:build interop

package frontend_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// TestInterop_WhatBuildsCanDoWorksAsWithoutUs has a case for each feature of builds that our steps could break.
func TestInterop_WhatBuildsCanDoWorksAsWithoutUs(t *testing.T) {
	debian := "FROM " + env.host + "/debian AS build\n"
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, "hush")
	other := t.TempDir()
	writeFile(t, filepath.Join(other, "from"), "elsewhere")
	for _, tt := range []struct {
		name string
		r    request
		want map[string]string // content of files of the image
		not  []string
	}{
		{"secret", request{
			file: debian + "RUN --mount=type=secret,id=token wc -c </run/secrets/token >/size\nFROM scratch\nCOPY " +
				"--from=build /size /\n",
			args: []string{"--secret=id=token,src=" + secret},
		}, map[string]string{"size": "4\n"}, nil},
		{"target", request{
			file: "FROM scratch AS one\nCOPY Containerfile /one\nFROM scratch AS two\nCOPY Containerfile /two\n",
			opts: []string{"target=one"},
		}, map[string]string{"one": ""}, []string{"two"}},
		{"build context", request{
			file: "FROM scratch\nCOPY --from=other from /\n", args: []string{"--local=other=" + other},
			opts: []string{"context:other=local:other"},
		}, map[string]string{"from": "elsewhere"}, nil},
		{".dockerignore", request{
			file:  "FROM scratch\nCOPY . /\n",
			files: map[string]string{"kept": "x", "ignored": "y", ".dockerignore": "ignored\n"},
		}, map[string]string{"kept": "x"}, []string{"ignored"}},
		{"no network", request{
			file: debian + "RUN --network=none cat /proc/net/dev | wc -l >/interfaces\nFROM scratch\nCOPY --from=build " +
				"/interfaces /\n",
		}, map[string]string{"interfaces": "3\n"}, nil},
		{"COPY --link", request{
			file: "FROM scratch\nCOPY --link --chmod=600 Containerfile /linked\n",
		}, map[string]string{"linked": ""}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			tt.r.file, tt.r.output = syntax("single-layer")+tt.r.file, "type=oci,tar=false,dest="+dir
			env.daemon.build(t, tt.r)
			bundle := filepath.Join(t.TempDir(), "bundle")
			must(t, "skopeo", "copy", "--quiet", "oci:"+dir, "oci:"+dir+"-named:x")
			must(t, "umoci", "unpack", "--image", dir+"-named:x", bundle)
			for name, want := range tt.want {
				if got := must(t, "cat", filepath.Join(bundle, "rootfs", name)); want != "" && got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for _, name := range tt.not {
				if found, err := filepath.Glob(filepath.Join(bundle, "rootfs", name)); err != nil || len(found) > 0 {
					t.Errorf("found %s: %v", found, err)
				}
			}
		})
	}
}

func TestInterop_APriorImageCanBeANamedContext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "oci")
	r := smallRequest("", "")
	r.output = "type=oci,tar=false,dest=" + dir
	env.daemon.build(t, r)
	first := readLayout(t, dir)
	pushed := smallRequest("", "priorcontext")
	env.daemon.build(t, pushed)
	changed := func(name string) request {
		// With another compression one can see which layers are made anew.
		r := smallRequest("compression=zstd", name)
		r.files["b"] = "changed"
		r.file = pushed.file
		r.opts = append(r.opts, "compression=zstd")
		return r
	}
	for kind, set := range map[string]func(*request){
		"oci-layout": func(r *request) {
			r.opts = append(r.opts, "context:prior=oci-layout://store@"+first.digest)
			r.args = []string{"--oci-layout=store=" + dir}
		},
		"docker-image": func(r *request) {
			r.opts = append(r.opts, "context:prior=docker-image://"+env.host+"/priorcontext")
		},
	} {
		t.Run(kind, func(t *testing.T) {
			r := changed("priorcontext/" + kind)
			set(&r)
			// It has no files of the image.
			out := newDaemon(t, daemonOptions{}).build(t, r)
			got := pull(t, r.name)
			kept := 0
			for _, l := range got.layers() {
				if slices.Contains(first.layers(), l) {
					kept++
				}
			}
			if kept == 0 || kept == len(got.layers()) {
				t.Errorf("%d of %d layers kept:\n%s", kept, len(got.layers()), out)
			}
		})
	}
}

func TestInterop_AnSBOMIsAttached(t *testing.T) {
	r := smallRequest("prior=none", "sbom")
	env.daemon.build(t, r)
	want := pull(t, r.name)
	dir := filepath.Join(t.TempDir(), "oci")
	r.opts = append(r.opts, "attest:sbom=generator="+env.host+"/scanner")
	r.output = "type=oci,tar=false,dest=" + dir
	env.daemon.build(t, r)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	list, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 2 {
		t.Fatalf("there is no attestation: %s", jsonOf(t, list))
	}
	img, err := inner.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.layers(), read(t, img).layers()); diff != "" {
		t.Errorf("layers (-without +with):\n%s", diff)
	}
	attestation, err := inner.Image(list.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest := jsonOf(t, read(t, attestation).manifest); !strings.Contains(manifest, "spdx.dev") {
		t.Errorf("the attestation is not an SBOM: %s", manifest)
	}
}

func TestInterop_MappingAndContentMetaAreFilesOfTheContext(t *testing.T) {
	repo, ref, _ := exampleRepo(t)
	rules := "- name: one\n  paths: [\"/usr/bin/one\"]\n- name: two\n  paths: [\"/usr/bin/two\"]\n"
	r := request{
		file:  syntax("prior=none mapping=rules.yaml ref="+ref) + "FROM scratch\n",
		files: map[string]string{"rules.yaml": rules}, name: "mapping",
		args: []string{"--local=repo=" + repo}, opts: []string{"context:repo=local:repo"},
	}
	env.daemon.build(t, r)
	rulesFile := filepath.Join(t.TempDir(), "rules.yaml")
	writeFile(t, rulesFile, rules)
	must(t, env.cli, "container", "encapsulate", "--insecure-skip-tls-verification", "--prior=none",
		"--mapping="+rulesFile, "--repo="+repo, ref,
		"docker://"+env.host+"/mapping-cli")
	if diff := cmp.Diff(pull(t, "mapping-cli").layers(), pull(t, "mapping").layers()); diff != "" {
		t.Errorf("layers (-cli +frontend):\n%s", diff)
	}
	if got := jsonOf(t, pull(t, "mapping").config.History); !strings.Contains(got, "user/one") {
		t.Errorf("the mapping was not followed: %s", got)
	}
}
