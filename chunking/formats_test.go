package chunking_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/chunking"
)

// block returns the block of docs/formats.md with the given name.
func block(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(data), "\n```json "+name+"\n")
	text, _, end := strings.Cut(text, "\n```\n")
	if !ok || !end {
		t.Fatalf("docs/formats.md has no block with the name %s", name)
	}
	return text
}

func TestTheDocumentedPlanIsOneAndIsWrittenBackAsItIs(t *testing.T) {
	t.Parallel()
	example := block(t, "plan")
	record, err := chunking.ParseRecord(example)
	if err != nil {
		t.Fatal(err)
	}
	again, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal([]byte(example), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(again), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-documented +encoded):\n%s", diff)
	}
}

func TestTheSchemaNamesTheFieldsOfAPlan(t *testing.T) {
	t.Parallel()
	var schema struct {
		Required   []string
		Properties map[string]any
	}
	if err := json.Unmarshal([]byte(block(t, "schema")), &schema); err != nil {
		t.Fatal(err)
	}
	record := &chunking.Record{
		Format: "plain-1", Layers: []chunking.RecordLayer{{}}, Components: map[string]chunking.Known{"a": {}},
	}
	text, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if schema.Properties[name] == nil {
			t.Errorf("the schema has no property %s", name)
		}
	}
	for _, name := range schema.Required {
		if _, ok := fields[name]; !ok {
			t.Errorf("the schema requires %s, which a plan does not have", name)
		}
	}
}

func TestTheDocumentedPackagesAreReadAndWrittenBack(t *testing.T) {
	t.Parallel()
	example := block(t, "packages")
	p, err := chunking.ParsePackages(example)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := errors.Join(json.Unmarshal([]byte(example), &want), json.Unmarshal([]byte(again), &got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(p) != 2 {
		t.Errorf("(-documented +encoded):\n%s", diff)
	}
}
