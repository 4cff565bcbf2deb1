package access

import (
	"os"
	"path/filepath"
	"testing"
)

// What one file says about a registry, in the ways of docker and podman.
func TestCredentialsInOneFile(t *testing.T) {
	dir := t.TempDir()
	for name, answer := range map[string]string{
		"knows": `echo '{"Username":"robot","Secret":"s"}'`, "does-not": `echo '{}'`, "fails": "exit 1",
	} {
		script := []byte("#!/bin/sh\ncat >/dev/null\n" + answer + "\n")
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), script, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const me = `{"auth":"bWU6c2VjcmV0"}`
	for name, c := range map[string]struct{ file, user string }{
		"what docker login leaves if a helper keeps the credentials": {
			`{"auths":{"os.example":{}},"credsStore":"knows"}`, "robot"},
		"an entry, and a helper for all registries": {`{"auths":{"os.example":` + me + `},"credsStore":"knows"}`, "me"},
		"an entry, and a helper for the registry": {
			`{"auths":{"os.example":` + me + `},"credHelpers":{"os.example":"knows"}}`, "robot"},
		"an entry, and a helper that has nothing": {
			`{"auths":{"os.example":` + me + `},"credHelpers":{"os.example":"does-not"}}`, "me"},
		"a helper for another registry":   {`{"credHelpers":{"other.example":"knows"}}`, ""},
		"an empty entry":                  {`{"auths":{"os.example":{}}}`, ""},
		"an empty entry of a namespace":   {`{"auths":{"os.example/team":{},"os.example":` + me + `}}`, "me"},
		"an address":                      {`{"auths":{"https://os.example":` + me + `}}`, "me"},
		"an address with the version":     {`{"auths":{"https://os.example/v1/":` + me + `}}`, "me"},
		"the address of another registry": {`{"auths":{"https://other.example/v1/":` + me + `}}`, ""},
		"an address with another path":    {`{"auths":{"https://os.example/other":` + me + `}}`, ""},
		"an address and another entry": {
			`{"auths":{"https://os.example":{"auth":"eDp5"},"os.example":` + me + `}}`, "me"},
		"a namespace whose name begins alike": {`{"auths":{"os.example/te":` + me + `}}`, ""},
	} {
		file := filepath.Join(dir, "auth.json")
		if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Options{AuthFile: file}.Login("os.example/team/os:latest")
		if err != nil || got.User != c.user || got.Anonymous != (c.user == "") {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	file := filepath.Join(dir, "fails.json")
	if err := os.WriteFile(file, []byte(`{"credHelpers":{"os.example":"fails"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := (Options{AuthFile: file}).Login("os.example/team/os"); err == nil {
		t.Errorf("a helper that fails: got %v", got)
	}
}
