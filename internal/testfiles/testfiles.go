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
	Name string // as the pattern has it
	Data []byte
}

// Read returns the files that a pattern of [filepath.Glob] names, in the order of their names. Those of the suffix ".gz" are
// decompressed. None is a failure of the test.
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
