package sizes

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSizesAreToldOneWay reads the strings of the program and the documentation.
func TestSizesAreToldOneWay(t *testing.T) {
	const root = "../.."
	binary := regexp.MustCompile(`\b[KMGT]iB\b`)
	message := regexp.MustCompile(`\b[KMGT]iB\b|%[.0-9]*[dfv] ?[kKMGT]i?B\b`)
	// Formats are described with powers of two.
	formats := map[string]bool{"docs/formats.md": true, "docs/architecture.md": true}
	read := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "internal" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return filepath.SkipDir // what is for tests, and this package
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			read++
			for _, s := range literals(t, path) {
				if message.MatchString(s) {
					t.Errorf("%s: use sizes.Format: %s", name, s)
				}
			}
		case strings.HasSuffix(name, ".md") && !formats[filepath.ToSlash(name)]:
			read++
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, s := range binary.FindAllString(string(data), -1) {
				t.Errorf("%s: %s: write powers of 1000", name, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 100 {
		t.Errorf("only %d files were read", read)
	}
}

// literals returns the strings in a source file.
func literals(t *testing.T, path string) (list []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			list = append(list, lit.Value)
		}
		return true
	})
	return list
}
