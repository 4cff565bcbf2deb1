package gvariant_test

import (
	"fmt"
	"log"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// This example writes the metadata of a commit, reads it back and prints it as ostree does.
func ExampleDict() {
	d := gvariant.Dict{
		{Key: "version", Value: gvariant.String("42.0")},
		{Key: "ostree.bootable", Value: gvariant.Bool(true)},
	}
	again, err := gvariant.ParseDict(d.Encode())
	if err != nil {
		log.Fatal(err)
	}
	version, ok := again.Lookup("version")
	fmt.Println(version, ok)
	// Output: '42.0' true
}
