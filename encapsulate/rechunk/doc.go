// Package rechunk gives images the versions, labels and changelogs that the action hhd-dev/rechunk gives them, from the
// same inputs, and converts its groups of packages to rules. The names, defaults and forms are those of that program
// (version 1.2). What it does not do here: it neither plans nor makes layers.
package rechunk

// Labels of the configuration.
const (
	// LabelInfo holds the packages of an image as JSON. Scripts that write release notes read it.
	LabelInfo     = "dev.hhd.rechunk.info"
	LabelVersion  = "org.opencontainers.image.version"
	LabelRevision = "org.opencontainers.image.revision"
)
