//go:build interop

package frontend_test

import (
	"strings"
	"testing"
)

// The format of an image follows the option, or the commit in the base image, and not labels that a Containerfile sets.
func TestInterop_LabelsDoNotSwitchTheFormat(t *testing.T) {
	const commit = "4d9aa1ee1a0b7a9e8f7a1a3d6a5d3a0e9f0d7f1e2c3b4a5968778695a4b3c2d1"
	base := func(name string) string { return "FROM " + env.host + "/" + name + "\n" }
	env.daemon.build(t, request{name: "labels/small", plain: true, file: "FROM scratch\nCOPY a /usr/bin/a\n",
		files: map[string]string{"a": strings.Repeat("a", 10000)}})
	env.daemon.build(t, request{name: "labels/ostree", file: syntax("prior=none format=ostree var=drop") +
		base("labels/small") + "LABEL vendor=Test\n"})
	held := pull(t, "labels/ostree").config.Config.Labels["ostree.commit"]
	layer := pull(t, "labels/small").config.RootFS.DiffIDs[0].String()
	for _, tt := range []struct {
		name, options, file string
		plain               bool // without us
		ostree              bool // the result holds a commit
		warning             string
	}{
		{"set", "", base("labels/small") + "LABEL ostree.commit=" + commit + "\n", false, false,
			"is ignored: ostree.commit"},
		{"all set", "", base("labels/small") + "LABEL ostree.commit=" + commit + " ostree.final-diffid=" + layer +
			" ostree.linux=6.1 ostree.bootable=true containers.bootc=1\n", false, false,
			"is ignored: ostree.commit, ostree.final-diffid, ostree.linux, ostree.bootable"},
		{"fake", "", base("labels/small") + "LABEL ostree.commit=" + commit + " ostree.final-diffid=" + layer + "\n", true,
			false, ""},
		{"of a base that lies", "", base("labels/fake"), false, false,
			"labels of the base image say that it holds commit " + commit + ", but its files do not have it"},
		{"of a commit", "", base("labels/ostree") + "COPY Containerfile /usr/lib/new\n", false, true, ""},
		{"of a commit, set", "", base("labels/ostree") + "LABEL ostree.commit=" + commit + "\n", false, true,
			"is ignored: ostree.commit"},
		{"of a commit, plain", "format=plain", base("labels/ostree") + "COPY Containerfile /usr/lib/new\n", false, false, ""},
		{"set, with the option", "format=ostree var=drop", base("labels/small") + "LABEL ostree.commit=" + commit + "\n",
			false, true, "is ignored: ostree.commit"},
		{"of a commit that stays", "keep-base", base("labels/ostree") + "COPY Containerfile /usr/lib/new\n" +
			"LABEL ostree.commit=" + commit + "\n", false, true, "is ignored: ostree.commit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request{name: "labels/" + strings.ReplaceAll(strings.ReplaceAll(tt.name, " ", "-"), ",", ""), plain: tt.plain,
				file: syntax("prior=none "+tt.options) + tt.file, args: []string{"--progress=rawjson"}}
			if tt.plain {
				r.file = tt.file
			}
			said := warnings(t, env.daemon.build(t, r))
			if !strings.Contains(said, tt.warning) || tt.warning == "" && strings.Contains(said, "label") {
				t.Errorf("warnings %q, want %q", said, tt.warning)
			}
			if tt.plain {
				return
			}
			labels := pull(t, r.name).config.Config.Labels
			if got := labels["ostree.commit"]; got == commit || (got != "") != tt.ostree ||
				(labels["ostree.final-diffid"] != "") != tt.ostree {
				t.Errorf("labels are %v", labels)
			}
			if got := labels["ostree.commit"]; tt.options == "keep-base" && got != held {
				t.Errorf("the commit is %q, want that of the base, %s", got, held)
			}
			if labels["containers.bootc"] != "" && tt.name != "all set" {
				t.Errorf("labels are %v", labels)
			}
			if tt.ostree {
				must(t, env.cli, "container", "verify", "--insecure-skip-tls-verification", "docker://"+env.host+"/"+r.name)
			}
		})
	}
}
