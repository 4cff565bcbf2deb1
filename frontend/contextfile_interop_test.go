//go:build interop

package frontend_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// oddities makes a build context with what is not an ordinary mapping file, and returns it.
func oddities(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writeFile(t, at("rules.yaml"), "- name: rest\n  paths: [\"/**\"]\n")
	writeFile(t, at("large.yaml"), strings.Repeat("# x\n", 500_001))
	writeFile(t, at("large.json"), `{"labels":"`+strings.Repeat("x", 8_000_000)+`"}`)
	writeFile(t, at("directory/file"), "")
	for name, target := range map[string]string{"loop": "pool", "pool": "loop", "dangling": "absent",
		"to-directory": "directory", "outside": "../../../../../etc/hostname", "good": "rules.yaml",
		"absolute": "/rules.yaml"} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mknod(at("device"), syscall.S_IFCHR|0o644, 1<<8|3); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return dir
}

func TestInterop_AFileThatCannotBeAMappingIsNamedAsWhatItIs(t *testing.T) {
	dir := oddities(t)
	const context = " in the build context "
	absent := func(name string) string { return "there is no file " + name + " in the build context" }
	for _, tt := range []struct{ option, want string }{
		{"mapping=large.yaml", "mapping: large.yaml" + context + "has 2.0\u00a0MB, more than the 2.0\u00a0MB"},
		{"mapping=directory", "mapping: directory" + context + "is a directory, not a file"},
		{"mapping=to-directory", "mapping: to-directory" + context + "is a directory, not a file"},
		{"mapping=.", "mapping: ." + context + "is a directory, not a file"},
		{"mapping=pipe", "mapping: pipe" + context + "is a pipe, not a file"},
		{"mapping=device", "mapping: device" + context + "is a device, not a file"},
		{"mapping=socket", "mapping: socket" + context + "is empty"},
		{"mapping=directory/file", "mapping: directory/file" + context + "is empty"},
		{"mapping=loop", "mapping: loop" + context + "is a symbolic link that leads back to itself"},
		{"mapping=dangling", "mapping: " + absent("dangling")},
		{"mapping=outside", "mapping: " + absent("outside")},
		{"mapping=rules.yaml/x", "mapping: " + absent("rules.yaml/x")},
		{"mapping=absent", "mapping: " + absent("absent")},
		{"contentmeta=large.json ref=x", "contentmeta: large.json" + context + "has 8.0\u00a0MB, more than the 8.0\u00a0MB"},
		{"contentmeta=directory ref=x", "contentmeta: directory" + context + "is a directory, not a file"},
		{"contentmeta=pipe ref=x", "contentmeta: pipe" + context + "is a pipe, not a file"},
	} {
		t.Run(tt.option, func(t *testing.T) {
			out, err := env.daemon.try(t.Context(), t, request{dir: dir, name: "oddities",
				file: syntax("prior=none "+tt.option) + "FROM scratch\nCOPY Containerfile /etc/motd\n"})
			if err == nil {
				t.Fatalf("the build worked:\n%s", out)
			}
			says(t, out, tt.want)
			if testing.Verbose() {
				t.Log(out[strings.LastIndex(out, "error:"):])
			}
		})
	}
	for _, name := range []string{"good", "absolute", "/rules.yaml", "directory/../rules.yaml"} {
		t.Run("mapping="+name, func(t *testing.T) {
			env.daemon.build(t, request{dir: dir, name: "oddities",
				file: syntax("prior=none mapping="+name) + "FROM scratch\nCOPY Containerfile /etc/motd\n"})
		})
	}
}
