package component_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

func parse(t *testing.T, text string) []component.Rule {
	t.Helper()
	rules, err := component.ParseRules([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

const yamlRules = `# what we build ourselves
- name: app
  paths: [/opt/app, "/etc/app*.conf"]
  layer: exclusive
  update_interval: weekly
- name: desktop
  packages:
    - gnome-*
    - "lib?nome"
  update_interval: 14
- {name: rest, paths: ["/**"], layer: shared, update_interval: 90d}
`

const jsonRules = `[
	{"name": "app", "paths": ["/opt/app", "/etc/app*.conf"], "layer": "exclusive", "update_interval": "7"},
	{"name": "desktop", "packages": ["gnome-*", "lib?nome"], "update_interval": 14},
	{"name": "rest", "paths": ["/**"], "update_interval": "quarterly"}
]`

func TestMappingFilesAreYAMLOrJSON(t *testing.T) {
	t.Parallel()
	want := []component.Rule{
		{Name: "app", Paths: []string{"/opt/app", "/etc/app*.conf"}, Exclusive: true, Interval: 7},
		{Name: "desktop", Packages: []string{"gnome-*", "lib?nome"}, Interval: 14},
		{Name: "rest", Paths: []string{"/**"}, Interval: 90},
	}
	for _, text := range []string{yamlRules, jsonRules} {
		rules := parse(t, text)
		if diff := cmp.Diff(want, rules, cmp.FilterPath(func(p cmp.Path) bool {
			name := p.Last().String()
			return name == ".paths" || name == ".packages"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if rules := parse(t, "[]"); len(rules) != 0 {
		t.Errorf("an empty list: %v", rules)
	}
}

func TestErrorsOfMappingFilesNameTheLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"no YAML":           {"- name: a\n  paths: [/x\n", "line "},
		"nothing":           {"", "no rules"},
		"comments alone":    {"# - name: a\n", "no rules: write [] if that is meant"},
		"null":              {"null", "no rules"},
		"no list":           {"name: a\n", "line 1, column 1: a list of rules, each beginning with \"- name: \""},
		"no rule":           {"- name: a\n  paths: [/x]\n- b\n", "line 3, column 3: a rule with the keys name"},
		"a path for paths":  {"- name: a\n  paths: /x\n", "line 2, column 10: paths: a list"},
		"keys for a path":   {"- name: a\n  paths: [/x, {y: z}]\n", "line 2, column 15: paths: a string"},
		"a list for a name": {"- name: [a]\n", "line 1, column 9: name: one word"},
		"an unknown key": {"- name: a\n  paths: [/x]\n- name: b\n  path: /y\n",
			"line 4, column 3: unknown key \"path\""},
		"a key twice":         {"- name: a\n  name: b\n  paths: [/x]\n", "line 2"},
		"no name":             {"- name: a\n  paths: [/x]\n- paths: [/x]\n", "line 3: rule 2"},
		"a name with a comma": {"- name: a,b\n  paths: [/x]\n", "line 1: rule 1"},
		"neither":             {"\n\n- name: a\n", "line 3: rule 1 (\"a\"): paths or packages are needed"},
		"a relative path":     {"- name: a\n  paths: [usr]\n", "line 1: rule 1 (\"a\"): path \"usr\": it must be absolute"},
		"an open bracket":     {"- name: a\n  paths: ['/[a']\n", "line 1: rule 1 (\"a\"): path \"/[a\": the bracket"},
		"a range backwards":   {"- name: a\n  packages: ['[z-a]']\n", "line 1: rule 1 (\"a\"): package \"[z-a]\""},
		"an unknown layer": {"- name: a\n  paths: [/x]\n  layer: own\n",
			"line 1: rule 1 (\"a\"): layer \"own\": shared or exclusive"},
		"an unknown interval":   {"- name: a\n  paths: [/x]\n  update_interval: often\n", "give days, or daily"},
		"an interval of zero":   {"- name: a\n  paths: [/x]\n  update_interval: 0\n", "give days, or daily"},
		"an interval too long":  {"- name: a\n  paths: [/x]\n  update_interval: 99999\n", "give days, or daily"},
		"a second document":     {"- name: a\n  paths: [/x]\n---\n- name: b\n  paths: [/y]\n", "something after the list"},
		"JSON with a wrong key": {"[\n{\"name\": \"a\",\n\"pahts\": []}]", "line 3, column 1: unknown key \"pahts\""},
		"too many":              {strings.Repeat("- {name: a, paths: [/x]}\n", 10_001), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := component.ParseRules([]byte(test.text))
			if !errors.Is(err, component.ErrRules) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAliasesAndMergesInMappingFiles(t *testing.T) {
	t.Parallel()
	rules := parse(t, "- &a {name: a, paths: &p [/x]}\n- {<<: *a, name: b}\n- {name: c, paths: *p}\n")
	var names []string
	for _, r := range rules {
		names = append(names, r.Name+" "+strings.Join(r.Paths, " "))
	}
	if diff := cmp.Diff([]string{"a /x", "b /x", "c /x"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPatternsMatchPaths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern string
		yes, no []string
	}{
		{"/opt/app", []string{"/opt/app", "/opt/app/x", "/opt/app/x/y"},
			[]string{"/opt/application", "/usr/opt/app", "/opt"}},
		{"/opt/app/", []string{"/opt/app/x"}, []string{"/opt/application/x"}},
		{"/opt/*", []string{"/opt/a", "/opt/a/b"}, []string{"/opt2"}},
		{"/opt/*.conf", []string{"/opt/a.conf", "/opt/.conf"}, []string{"/opt/a/b.conf", "/opt/axconf"}},
		{"/opt/**.conf", []string{"/opt/a.conf", "/opt/a/b.conf"}, []string{"/opt/aconf"}},
		{"/usr/**/vendor", []string{"/usr/vendor/x", "/usr/a/vendor/x", "/usr/a/b/vendor"}, []string{"/usr/avendor"}},
		{"/**", []string{"/x", "/a/b"}, nil},
		{"/", []string{"/x", "/a/b"}, nil},
		{"/a?c", []string{"/abc"}, []string{"/a/c", "/ac", "/abbc"}},
		{"/[ab]x", []string{"/ax", "/bx"}, []string{"/cx", "/x"}},
		{"/[!ab]x", []string{"/cx"}, []string{"/ax", "//x"}},
		{"/[a-c]x", []string{"/bx"}, []string{"/dx", "/-x"}},
		{"/a+(b)", []string{"/a+(b)"}, []string{"/aab"}},
		{"/größe", []string{"/größe"}, []string{"/gro"}},
		{"/etc/x", []string{"/etc/x", "/usr/etc/x"}, nil},
	} {
		rules := []component.Rule(nil)
		for p := range strings.SplitSeq(test.pattern, "\n") {
			rules = append(rules, parse(t, "- {name: r, paths: ['"+p+"']}")...)
		}
		for _, p := range append(test.yes, test.no...) {
			if strings.Contains(p, "//") {
				continue // not a path of a tree
			}
			set, err := component.Detect(t.Context(), tree.New(tree.Empty(p)), component.Options{Rules: rules})
			if err != nil {
				t.Fatal(err)
			}
			want := false
			for _, y := range test.yes {
				want = want || y == p
			}
			if got := set.Components[0].ID == "user/r"; got != want {
				t.Errorf("%s matches %s: %v", test.pattern, p, got)
			}
		}
	}
}

func TestTheFirstRuleThatMatchesCounts(t *testing.T) {
	t.Parallel()
	files := debian(deb{"gnome-shell", "", "/usr/bin/gnome-shell /usr/share/gnome/x /boot/initrd.img", ""},
		deb{"gnome-terminal", "", "/usr/bin/gnome-terminal", ""}).And(
		tree.Empty("/usr/bin/gnome-shell", "/usr/share/gnome/x", "/usr/bin/gnome-terminal", "/boot/initrd.img",
			"/opt/app/keep/b")).And(tree.Files{
		"/opt/app": {Dir: true, Xattrs: map[string]string{"user.component": "xattr"}}, "/opt/app/a": tree.Text("a"),
		"/opt/link": tree.HardLink("/opt/app/a"),
	})
	for name, test := range map[string]struct {
		rules string
		want  map[string]string
	}{
		"paths first": {
			"- {name: share, paths: [/usr/share]}\n- {name: gnome, packages: [gnome-*]}",
			map[string]string{"/usr/bin/gnome-shell": "user/gnome", "/usr/share/gnome/x": "user/share",
				"/usr/bin/gnome-terminal": "user/gnome", "/opt/app/a": "user/xattr"},
		},
		"packages first": {
			"- {name: gnome, packages: [gnome-*]}\n- {name: share, paths: [/usr/share, /usr/bin]}",
			map[string]string{"/usr/bin/gnome-shell": "user/gnome", "/usr/share/gnome/x": "user/gnome",
				"/usr/bin/gnome-terminal": "user/gnome"},
		},
		"the same package twice": {
			"- {name: shell, packages: [gnome-shell]}\n- {name: gnome, packages: [gnome-*]}",
			map[string]string{"/usr/bin/gnome-shell": "user/shell", "/usr/bin/gnome-terminal": "user/gnome"},
		},
		"rules go before xattrs and databases, packages' rules not before the initial RAM disk": {
			"- {name: app, paths: [/opt/app/a]}\n- {name: gnome, packages: ['*']}\n- {name: db, paths: [/var/lib/dpkg]}",
			map[string]string{"/opt/app/a": "user/app", "/opt/link": "user/app", "/opt/app/keep/b": "user/xattr",
				"/boot/initrd.img": "sys/initramfs", "/var/lib/dpkg/status": "user/db"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, owners := detect(t, files, component.Options{Rules: parse(t, test.rules)})
			for p, want := range test.want {
				if owners[p] != want {
					t.Errorf("%s: %s, want %s", p, owners[p], want)
				}
			}
			for i, c := range set.Claims {
				why := set.Reasons[c.Reason]
				if c.Component >= 0 && strings.HasPrefix(set.Components[c.Component].ID, "user/") && why.Detector != "rule" &&
					why.Detector != "xattr" && why.Detector != "system" {
					t.Errorf("%d: %+v", i, why)
				}
			}
		})
	}
}

func TestARuleSaysHowItsComponentIsLaidOut(t *testing.T) {
	t.Parallel()
	files := debian(deb{"tool", "toolsrc", "/usr/bin/tool",
		" -- A <a@b.c>  Mon, 02 Jan 2023 01:00:00 +0000\n"}).And(tree.Empty("/usr/bin/tool", "/opt/x"))
	set, _ := detect(t, files,
		component.Options{Rules: parse(t,
			"- {name: t, packages: [tool], layer: exclusive, update_interval: monthly}\n"+
				"- {name: nothing, paths: [/nothing]}\n- {name: none, packages: [none]}")})
	got := find(t, set, "user/t")
	if !got.Exclusive || got.Interval != 30 || len(got.Changes) != 1 || !cmp.Equal(got.Packages, []string{"tool"}) {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"the rule nothing matches nothing", "the rule none matches nothing"},
		set.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestManyRulesThatMatchNothingGiveOneWarning(t *testing.T) {
	t.Parallel()
	set, _ := detect(t, tree.Empty("/opt/x"), component.Options{Rules: parse(t, "- {name: x, paths: [/opt/x]}\n"+
		"- {name: a, paths: [/a]}\n- {name: b, paths: [/b]}\n- {name: c, paths: [/c]}\n- {name: d, paths: [/d]}")})
	if diff := cmp.Diff([]string{"4 of 5 rules match nothing: a, b, c and others"}, set.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestXattrsNameComponentsOfFilesAndOfWhatIsBelow(t *testing.T) {
	t.Parallel()
	x := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m["user."+pairs[i]] = pairs[i+1]
		}
		return m
	}
	files := debian(deb{"owner", "", "/opt/a/owned", ""}).And(tree.Empty("/opt/a/owned", "/opt/a/below/deep",
		"/opt/a/below/link", "/opt/a/other/y", "/opt/a/fast/z", "/opt/a/fast/z2", "/usr/x")).And(tree.Files{
		"/opt/a":            {Dir: true, Xattrs: x("component", "app", "update-interval", "monthly")},
		"/opt/a/other":      {Dir: true, Xattrs: x("component", "other\x00")},
		"/opt/a/fast":       {Dir: true, Xattrs: x("update-interval", "3")},
		"/opt/a/below/link": {Target: "/usr", Xattrs: x("component", "link\n", "update-interval", "weekly")},
		"/usr/one":          {Xattrs: x("component", "one")},
		"/usr/bad":          {Xattrs: x("component", "no name", "update-interval", "seldom")},
		"/usr/only":         {Xattrs: x("update-interval", "daily")},
	})
	set, owners := detect(t, files, component.Options{})
	for p, want := range map[string]string{
		"/opt/a/owned": "user/app", "/opt/a/below/deep": "user/app", "/opt/a/below/link": "user/link",
		"/opt/a/other/y": "user/other", "/opt/a/fast/z": "user/app",
		"/usr/x": "unowned/usr", "/usr/one": "user/one", "/usr/bad": "unowned/usr", "/usr/only": "unowned/usr",
	} {
		if owners[p] != want {
			t.Errorf("%s: %s, want %s", p, owners[p], want)
		}
	}
	for id, interval := range map[string]float64{"user/app": 3, "user/other": 30, "user/link": 7, "user/one": 0} {
		if c := find(t, set, id); c.Interval != interval || !c.Exclusive {
			t.Errorf("%s: interval %v, exclusive %v; want %v", id, c.Interval, c.Exclusive, interval)
		}
	}
	if diff := cmp.Diff([]string{
		`/usr/bad: the value of user.component is not a valid name: "no name"`,
		`/usr/bad: user.update-interval: interval "seldom": ` +
			`give days, or daily, weekly, biweekly, monthly, quarterly or yearly`,
		"component app has several intervals: the shortest counts",
	}, set.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func FuzzParseRules(f *testing.F) {
	for _, seed := range []string{yamlRules, jsonRules, "", "- &a {name: x, paths: [/**/[!a-z]?*]}\n- *a\n",
		"- name: a\n  paths: ['/[']\n", "a: &a [*a]", "- {name: a, packages: ['[[:x:]]']}"} {
		f.Add([]byte(seed))
	}
	tr := tree.New(tree.Empty("/opt/app/x", "/etc/app.conf", "/usr/lib/größe"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := component.ParseRules(data)
		if err != nil {
			if !errors.Is(err, component.ErrRules) {
				t.Errorf("got %v, want ErrRules", err)
			}
			return
		}
		set, err := component.Detect(t.Context(), tr, component.Options{Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		checkSet(t, tr, set)
	})
}
