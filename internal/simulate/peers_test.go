package simulate

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ostree-ext/ostree-ext-go/internal/fixtures"
)

const fedoraList = "../../chunking/upstream/testdata/fedora-coreos-contentmeta.json.gz"

// The comparison is only valid if our copy of upstream's algorithm is right: its bins equal those of upstream's
// program.
func TestUpstreamPacksAsUpstreamDoes(t *testing.T) {
	t.Parallel()
	dir := fixtures.Dir(t, "packing")
	list, err := ReadList(fedoraList)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{4, 5, 8, 16, 32, 64, 100, 200, 396, 397, 500} {
		t.Run(fmt.Sprintf("%d layers", k), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(fmt.Sprintf("%s/pack-%d.json", dir, k))
			if err != nil {
				t.Fatal(err)
			}
			var bins [][][2]string
			if err := json.Unmarshal(data, &bins); err != nil {
				t.Fatal(err)
			}
			want := make([][]string, len(bins))
			for i, bin := range bins {
				for _, entry := range bin {
					want[i] = append(want[i], entry[0])
				}
			}
			got, err := upstream(list.image(), k)
			if err != nil {
				t.Fatal(err)
			}
			want, got = filled(want), filled(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("bins (-upstream +ours):\n%s", diff)
			}
		})
	}
}

// filled leaves out empty bins, which cause no download, and sorts the members.
func filled(bins [][]string) [][]string {
	bins = slices.DeleteFunc(bins, func(bin []string) bool { return len(bin) == 0 })
	for i := range bins {
		slices.Sort(bins[i])
	}
	return bins
}
