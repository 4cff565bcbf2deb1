package keyfile_test

import (
	"fmt"
	"log"

	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// This example changes one value. Everything else stays as it was written.
func ExampleFile_Set() {
	f, err := keyfile.Parse([]byte("# by hand\n[core]\nmode = archive-z2\n"))
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Set("core", "fsync", "false"); err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(f.Encode()))
	// Output:
	// # by hand
	// [core]
	// mode = archive-z2
	// fsync=false
}
