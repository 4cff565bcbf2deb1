// Package testfiles reads files of testdata, most of them seeds of fuzz targets.
package testfiles

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// File is a file with its content.
type File struct {
	Name string // path, relative if the pattern is
	Data []byte
}

// Read returns the files that match a pattern of [filepath.Glob], in the order of their names. Files with the suffix
// ".gz" are decompressed. If no file matches, the test fails.
func Read(t testing.TB, pattern string) []File {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	var files []File
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.HasSuffix(name, ".gz") {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
				data, err = io.ReadAll(z)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files = append(files, File{name, data})
	}
	return files
}
