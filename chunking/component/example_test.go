package component_test

import (
	"context"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/chunking/component"
	tree "github.com/ostree-ext/ostree-ext-go/chunking/component/internal/treetest"
)

func ExampleDetect() {
	root := tree.New(tree.Files{
		"/lib/apk/db/installed": tree.Text("P:busybox\nF:bin\nR:busybox\n\n" +
			"P:ssl_client\no:busybox\nF:usr/bin\nR:ssl_client\n"),
		"/bin/busybox":        {},
		"/bin/ls":             tree.Symlink("busybox"),
		"/usr/bin/ssl_client": {},
		"/opt/app/run":        {},
	})
	rules, err := component.ParseRules([]byte(`
- name: app
  paths: [/opt/app]
  update_interval: weekly
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := component.Detect(context.Background(), root, component.Options{Rules: rules})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, e := range root.Entries().All() {
		if c := set.Claims[i]; c.Component >= 0 {
			fmt.Printf("%s: %s (%s)\n", e.Path(), set.Components[c.Component].ID, set.Explain(root.Entries(), i).Text)
		}
	}
	// Output:
	// /bin/busybox: apk/busybox (package busybox)
	// /bin/ls: apk/busybox (a link to /bin/busybox)
	// /lib/apk/db/installed: sys/pkgdb (state of a package manager)
	// /opt/app/run: user/app (rule app)
	// /usr/bin/ssl_client: apk/busybox (package ssl_client)
}
