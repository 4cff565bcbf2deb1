package report

import "github.com/ostree-ext/ostree-ext-go/encapsulate/oci"

// History is what the updates between several images download. `chunks history --json` prints it. Sizes are in
// compressed bytes.
type History struct {
	// Images are in the order in which they were given, which should be that of time.
	Images []Summary `json:"images"`
	// Updates are those from each image to the next one.
	Updates []Update `json:"updates"`
	// Download is the sum of the updates' downloads. Whole is what they would be if no layer were shared.
	Download uint64 `json:"download"`
	Whole    uint64 `json:"whole"`
}

// Update is the update from one image to the next one.
type Update struct {
	// From and To are the references of the images.
	From string `json:"from"`
	To   string `json:"to"`
	// Download, Shared and Removed are as in [Difference], and the other fields the numbers of these layers.
	Download       uint64 `json:"download"`
	Shared         uint64 `json:"shared"`
	Removed        uint64 `json:"removed"`
	DownloadLayers int    `json:"download_layers"`
	SharedLayers   int    `json:"shared_layers"`
	RemovedLayers  int    `json:"removed_layers"`
	// Causes are as in [Difference].
	Causes []Cause `json:"causes"`
	// Packages are the numbers of packages that differ, or nil if the images do not say which they have.
	Packages *PackageCounts `json:"packages,omitempty"`

	from, to *Summary
	// changed is the part of Download that changed itself.
	changed uint64
}

// PackageCounts are numbers of packages.
type PackageCounts struct {
	Changed int `json:"changed"`
	Added   int `json:"added"`
	Removed int `json:"removed"`
}

// NewHistory compares each image with the next one.
func NewHistory(images []*oci.Image) *History {
	h := &History{Images: []Summary{}, Updates: []Update{}}
	for i, image := range images {
		h.Images = append(h.Images, *summarise(image))
		if i == 0 {
			continue
		}
		d := Diff(images[i-1], image)
		u := Update{
			From: d.from.Image, To: d.to.Image, Download: d.Download, Shared: d.Shared, Removed: d.Removed,
			DownloadLayers: len(d.Layers), SharedLayers: d.SharedLayers, RemovedLayers: d.RemovedLayers,
			Causes: d.Causes, from: d.from, to: d.to, changed: d.changedBytes(),
		}
		if d.Packages != nil {
			u.Packages = count(d.Packages)
		}
		h.Updates = append(h.Updates, u)
		h.Download += d.Download
		h.Whole += d.Download + d.Shared
	}
	return h
}

func count(list []PackageDifference) *PackageCounts {
	c := &PackageCounts{}
	for _, p := range list {
		switch p.Change {
		case Changed:
			c.Changed++
		case Added:
			c.Added++
		case Removed:
			c.Removed++
		}
	}
	return c
}
