package plan

import (
	"errors"
	"fmt"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/chunking/component"
)

// listPackages makes the label with the installed packages. It stays empty if there are none, or too many.
func (p *Plan) listPackages(list []component.Installed) error {
	if len(list) == 0 {
		return nil
	}
	var err error
	p.packages, err = chunking.NewPackages(list).Encode()
	if errors.Is(err, chunking.ErrPackagesTooLong) {
		text := fmt.Sprintf("%v: hosts will not see which packages an update brings before they fetch it", err)
		p.Warnings = append(p.Warnings, text)
		return nil
	}
	return err
}
