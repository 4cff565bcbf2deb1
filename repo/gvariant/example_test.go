package gvariant_test

import (
	"fmt"
	"log"

	"github.com/ostree-ext/ostree-ext-go/repo/gvariant"
)

// The metadata of a commit are written, read back and printed as ostree prints them.
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
