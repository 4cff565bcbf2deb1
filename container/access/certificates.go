package access

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.podman.io/image/v5/pkg/tlsclientconfig"
	"go.podman.io/storage/pkg/configfile"
	"go.podman.io/storage/pkg/unshare"
)

// addCertificates adds root and client certificates to a TLS configuration, as the library does when it reads from a
// registry. They are the *.crt, *.cert and *.key files of dir or, if dir is empty, of the first certs.d/HOST directory
// of the container tools that exists.
func addCertificates(c *tls.Config, dir, host string) error {
	if dir != "" {
		return tlsclientconfig.SetupCertificates(dir, c)
	}
	paths, err := configfile.GetSearchPaths(&configfile.File{
		Name: "certs", Extension: "d", DoNotUseExtensionForConfigName: true, UserId: unshare.GetRootlessUID(),
	})
	if err != nil {
		return err
	}
	for _, base := range append(paths.DropInDirectories, "/etc/docker/certs.d") {
		dir := filepath.Join(base, host)
		_, err := os.Stat(dir)
		switch {
		case err == nil:
			return tlsclientconfig.SetupCertificates(dir, c)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
			return err
		}
	}
	return nil
}
