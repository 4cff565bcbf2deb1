// Package docblocks finds the code blocks in the documents, and lists which test runs each of them exactly as it is
// printed. A block that is neither run nor listed with a reason fails the test of this package.
package docblocks

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Block is a code block of a document.
type Block struct {
	// File is the document, relative to the root of the module. Line is where the block begins, counted from 1.
	File string
	Line int
	// Text is the block without its indentation.
	Text string
	// Fenced is whether the block is between fences. In the first pages, that is what the commands before it print.
	Fenced bool
}

// First returns the first line of the block.
func (b Block) First() string { return strings.TrimRight(strings.SplitN(b.Text, "\n", 2)[0], " ") }

// String returns the place of the block.
func (b Block) String() string { return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.First()) }

// Read returns the code blocks of the README, of the notes for contributors, and of all files in docs.
func Read(root string) ([]Block, error) {
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	var all []Block
	names = append([]string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")}, names...)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := filepath.Rel(root, name)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks(string(data)) {
			b.File = file
			all = append(all, b)
		}
	}
	return all, nil
}

var listItem = regexp.MustCompile(`^ *([*-]|[0-9]+\.) +`)

// blocks returns the fenced and the indented blocks of a Markdown text. A block in a list is indented by four more than
// the text of the item.
func blocks(text string) (found []Block) {
	lines := strings.Split(text, "\n")
	inItem := 0
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, "```") {
			start := i + 1
			for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
			}
			found = append(found, Block{Line: start + 1, Text: strings.Join(lines[start:i], "\n") + "\n", Fenced: true})
			continue
		}
		if line != "" && line[0] != ' ' {
			inItem = 0
		}
		indent := strings.Repeat(" ", inItem+4)
		if !strings.HasPrefix(line, indent) || i > 0 && lines[i-1] != "" {
			if m := listItem.FindString(line); m != "" {
				inItem = len(m)
			}
			continue
		}
		start, end := i, i
		for ; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], indent)); i++ {
			if lines[i] != "" {
				end = i + 1
			}
		}
		i--
		var b strings.Builder
		for _, l := range lines[start:end] {
			b.WriteString(strings.TrimPrefix(l, indent) + "\n")
		}
		found = append(found, Block{Line: start + 1, Text: b.String()})
	}
	return found
}

// Of returns the blocks that the tests of a package run, in the order of the documents. root is the root of the module.
func Of(t testing.TB, root, pkg string) []Block {
	t.Helper()
	all, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(b Block) bool {
		e := entryOf(b)
		return e == nil || e.pkg != pkg
	})
	if len(all) == 0 {
		t.Fatalf("no block is for %s", pkg)
	}
	return all
}

func entryOf(b Block) *entry {
	for i := range list {
		if e := &list[i]; e.file == b.File && strings.HasPrefix(b.First(), e.begins) {
			return e
		}
	}
	return nil
}
