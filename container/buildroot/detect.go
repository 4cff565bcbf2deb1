package buildroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
	"github.com/ostree-ext/ostree-ext-go/repo/keyfile"
)

// Environment says what kind of system a root belongs to. The values are upstream's.
type Environment string

// The environments.
const (
	// OSTreeContainer is a container whose image is that of a commit.
	OSTreeContainer Environment = "ostree-container"
	// OSTree is a host that was booted through OSTree.
	OSTree Environment = "ostree"
	// Container is another container.
	Container Environment = "container"
	// None is everything else.
	None Environment = "none"
)

// configs are where the configuration of the repository in the image of a commit is.
var configs = []string{"sysroot/ostree/repo/config", "sysroot/config"}

const maxConfig = 1 << 20

// Detect returns the environment of a root directory. getenv looks up variables, as [os.LookupEnv] does.
func Detect(root string, getenv func(string) (string, bool)) (Environment, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return None, err
	}
	defer dir.Close()
	split, err := splitXattrs(dir)
	if err != nil {
		return None, err
	}
	_, inside := getenv("container")
	inside = inside || exists(dir, "run/.containerenv") || exists(dir, ".dockerenv")
	booted := exists(dir, "run/ostree-booted")
	_, unit := getenv("INVOCATION_ID")
	switch {
	case split && (inside || !unit && !booted):
		return OSTreeContainer, nil
	case booted:
		return OSTree, nil
	case inside:
		return Container, nil
	}
	return None, nil
}

func exists(dir *os.Root, name string) bool {
	_, err := dir.Lstat(name)
	return err == nil
}

// splitXattrs reports whether the root has the repository of an image.
func splitXattrs(dir *os.Root) (bool, error) {
	for _, name := range configs {
		data, err := readConfig(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		f, err := keyfile.Parse(data)
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		mode, _ := f.Get("core", "mode")
		return mode == "bare-split-xattrs", nil
	}
	return false, nil
}

func readConfig(dir *os.Root, name string) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("%s has more than %s", name, sizes.Format(maxConfig))
	}
	return data, err
}
