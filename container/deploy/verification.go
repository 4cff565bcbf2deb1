package deploy

import (
	"fmt"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/repo"
	"github.com/ostree-ext/ostree-ext-go/repo/sysroot"
)

// WeakerError says that the origin of an existing deployment asks for verification and the new one does not.
type WeakerError struct {
	// Old is the image or refspec of the existing deployment, and New the new image.
	Old, New string
}

// Error implements error.
func (e *WeakerError) Error() string {
	return fmt.Sprintf("the host is updated from %s, which is verified, and %s would not be", e.Old, e.New)
}

// checkVerification refuses an origin that asks for no verification if the one before asked for some.
func (t *target) checkVerification(r *repo.Repo, opts *Options) error {
	if opts.AllowUnverified || opts.Origin.Signature.Kind != imgref.ContainerPolicyAllowInsecure {
		return nil
	}
	pending, _ := t.list.Around(t.stateroot)
	for _, d := range []*sysroot.Deployment{t.merge, pending} {
		if d != nil && d.Origin != nil && verified(r.Config(), d.Origin) {
			return &WeakerError{Old: originOf(d), New: opts.Origin.String()}
		}
	}
	return nil
}

// verified reports whether an origin asks for verification. What this program does not know asks for it.
func verified(c *repo.Config, o *sysroot.Origin) bool {
	if o.Image != "" {
		ref, err := imgref.ParseOstreeImageReference(o.Image)
		return err != nil || ref.Signature.Kind != imgref.ContainerPolicyAllowInsecure
	}
	remote, _, err := repo.ParseRefspec(o.Refspec)
	if o.Refspec == "" || err != nil || remote == "" {
		return false
	}
	// A remote that is configured elsewhere, below /etc/ostree/remotes.d, has libostree's default: signed with GPG.
	group := fmt.Sprintf("remote %q", remote)
	return boolKey(c, group, "gpg-verify", true) || boolKey(c, group, "sign-verify", false)
}

// boolKey returns the value of a key that is true, false, or, as sign-verify may be, a list of what is accepted.
func boolKey(c *repo.Config, group, key string, missing bool) bool {
	v, ok := c.Get(group, key)
	if !ok {
		return missing
	}
	v = strings.TrimSpace(v)
	return v != "false" && v != "0" && v != ""
}
