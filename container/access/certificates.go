package access

import (
	"crypto/tls"
	"errors"
	"fmt"
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
		if err := checkCertDir(dir); err != nil {
			return err
		}
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

// checkCertDir returns an error if a directory with certificates does not exist. The library takes it for an empty one.
func checkCertDir(dir string) error {
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s is not a directory", dir)
	}
	if err != nil {
		return fmt.Errorf("--cert-dir: %w", err)
	}
	return nil
}
