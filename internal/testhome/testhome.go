// Package testhome gives tests a home of their own, so that they do not depend on what the machine's users have
// configured: credentials, registries, caches, and variables of this program.
package testhome

import (
	"errors"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"strings"
)

// Tests are the tests of a package. TestMain runs them: os.Exit(testhome.Tests{M: m}.Run()).
type Tests struct {
	// M is the [testing.M] of the package, or a [Func].
	M interface{ Run() int }
}

// Func is a function that runs tests, for a TestMain that has more to prepare.
type Func func() int

// Run calls the function.
func (f Func) Run() int { return f() }

// Run makes a home, runs the tests in it, and removes it.
func (t Tests) Run() (status int) {
	dir, err := os.MkdirTemp("", "ostree-ext-testhome-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = moveTo(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "a home for the tests:", err)
		return 2
	}
	return t.M.Run()
}

// moveTo sets the variables of this process.
func moveTo(dir string) error {
	vars, err := Environ(dir)
	if err != nil {
		return err
	}
	// The go command, which some tests run, keeps its caches in the home.
	cache, noCache := os.UserCacheDir()
	config, noConfig := os.UserConfigDir()
	keep := map[string]string{"GOPATH": build.Default.GOPATH}
	if noCache == nil {
		keep["GOCACHE"] = filepath.Join(cache, "go-build")
	}
	if noConfig == nil {
		keep["GOENV"] = filepath.Join(config, "go", "env")
	}
	for name, value := range keep {
		if os.Getenv(name) == "" {
			err = errors.Join(err, os.Setenv(name, value))
		}
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); ours(name) {
			err = errors.Join(err, os.Unsetenv(name))
		}
	}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	return err
}

// ours reports whether a variable changes what the program does, or where it looks for files.
func ours(name string) bool {
	for _, prefix := range []string{"XDG_", "OSTREE_", "CONTAINERS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "SOURCE_DATE_EPOCH"
}

// Environ makes a home below a directory, and returns the variables that lead there. The home has an empty file with
// credentials, which is named, so that those of the system are not read either, and an empty registries.conf.
func Environ(dir string) ([]string, error) {
	home := filepath.Join(dir, "home")
	runtime := filepath.Join(dir, "runtime")
	auth, registries := filepath.Join(dir, "auth.json"), filepath.Join(dir, "registries.conf")
	err := errors.Join(
		os.MkdirAll(home, 0o700), os.MkdirAll(runtime, 0o700),
		os.WriteFile(auth, []byte("{}\n"), 0o600), os.WriteFile(registries, nil, 0o600),
	)
	return []string{
		"HOME=" + home, "XDG_RUNTIME_DIR=" + runtime,
		"XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_CACHE_HOME=" + filepath.Join(home, ".cache"),
		"XDG_DATA_HOME=" + filepath.Join(home, ".local", "share"),
		"DOCKER_CONFIG=" + filepath.Join(home, ".docker"),
		"REGISTRY_AUTH_FILE=" + auth, "CONTAINERS_REGISTRIES_CONF=" + registries,
	}, err
}
