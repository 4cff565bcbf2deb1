package encapsulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/chunking"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonkeys"
	"github.com/ostree-ext/ostree-ext-go/internal/jsonplace"
)

// Given is what a document about an image says that a new image can take over.
type Given struct {
	// Config is the container configuration, for [Options.Config].
	Config json.RawMessage
	// Unknown are the keys of the document's configuration that neither OCI nor Docker has. They are kept, but may be
	// misspelt.
	Unknown []string
	// Image says that the document describes an image. Otherwise the other fields are empty, as they are if the document
	// does not have them.
	Image       bool
	Annotations map[string]string
	Platform    *ocispec.Platform
	Created     *time.Time
	Author      string
	// Layers are the diff-ids of the image that the document describes.
	Layers []digest.Digest
}

// inspected is the form of what "podman inspect" and "docker inspect" print. Keys are written in exactly this way.
type inspected struct {
	Config, HealthCheck, Healthcheck             json.RawMessage
	Annotations                                  map[string]string
	Architecture, Variant, Os, OsVersion, Author string
	Created                                      string
	RootFS                                       struct{ Layers []digest.Digest }
}

// ReadConfig reads the configuration for an image that a person gives: the "config" object of an OCI image, the whole
// configuration of an image, or what "podman inspect", "docker inspect" or "buildah inspect" print about one image. Of
// what they print, only what belongs to an image is taken over. The error says where a mistake is.
func ReadConfig(data []byte) (*Given, error) {
	var list []json.RawMessage
	if json.Unmarshal(data, &list) == nil && list != nil {
		if len(list) != 1 {
			return nil, fmt.Errorf("this describes %d images: give one", len(list))
		}
		data = list[0]
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil {
		keys = nil // what follows says what is wrong
	}
	switch {
	case keys["OCIv1"] != nil:
		g, err := readImage(keys["OCIv1"])
		if err != nil || keys["ImageAnnotations"] == nil {
			return g, err
		}
		return g, jsonplace.Unmarshal(keys["ImageAnnotations"], &g.Annotations)
	case keys["Config"] != nil:
		return readInspected(data)
	case keys["config"] != nil && keys["layers"] == nil, keys["rootfs"] != nil:
		return readImage(data)
	}
	unknown, err := CheckConfig(data)
	return &Given{Config: data, Unknown: unknown}, err
}

// readInspected reads what "podman inspect" and "docker inspect" print.
func readInspected(data []byte) (*Given, error) {
	if err := jsonkeys.Check(data, jsonkeys.Schema{}); err != nil {
		return nil, err
	}
	var i inspected
	if err := jsonplace.Unmarshal(data, &i); err != nil {
		return nil, err
	}
	g := &Given{Image: true, Annotations: i.Annotations, Author: i.Author, Layers: i.RootFS.Layers}
	p := ocispec.Platform{OS: i.Os, Architecture: i.Architecture, Variant: i.Variant, OSVersion: i.OsVersion}
	if err := g.describe(p, i.Created); err != nil {
		return nil, err
	}
	config := map[string]json.RawMessage{}
	if err := jsonplace.Unmarshal(i.Config, &config); err != nil {
		return nil, fmt.Errorf("field Config: %w", err)
	}
	// Both programs print a check that is not in the configuration beside it.
	for _, check := range []json.RawMessage{i.HealthCheck, i.Healthcheck} {
		if config["Healthcheck"] == nil && check != nil {
			config["Healthcheck"] = check
		}
	}
	// The others describe a container, or where the image came from.
	maps.DeleteFunc(config, func(key string, value json.RawMessage) bool {
		return !slices.Contains(imageKeys, key) || slices.Contains(emptyValues, string(value))
	})
	var err error
	if g.Config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	if g.Unknown, err = CheckConfig(g.Config); err != nil {
		return nil, fmt.Errorf("field Config: %w", err)
	}
	return g, nil
}

// imageKeys are the keys of a container configuration that an image has. Docker prints others, which only a container
// has. emptyValues are the values by which it says that something is not set.
var (
	imageKeys = []string{
		"ArgsEscaped", "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell", "StopSignal",
		"StopTimeout", "User", "Volumes", "WorkingDir",
	}
	emptyValues = []string{"null", `""`, "[]", "{}", "false"}
)

// readImage reads the configuration of a whole image.
func readImage(data []byte) (*Given, error) {
	if err := jsonkeys.Check(data, jsonkeys.Schema{}); err != nil {
		return nil, err
	}
	var image struct {
		ocispec.Platform
		Created, Author string
		Config          json.RawMessage
		RootFS          struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		}
	}
	if err := jsonplace.Unmarshal(data, &image); err != nil {
		return nil, err
	}
	g := &Given{Image: true, Config: image.Config, Author: image.Author, Layers: image.RootFS.DiffIDs}
	if len(g.Config) == 0 || string(g.Config) == "null" {
		g.Config = json.RawMessage("{}")
	}
	if err := g.describe(image.Platform, image.Created); err != nil {
		return nil, err
	}
	var err error
	if g.Unknown, err = CheckConfig(g.Config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return g, nil
}

// describe sets the platform and the time of an image that a document describes.
func (g *Given) describe(p ocispec.Platform, created string) error {
	if p.OS != "" && p.OS != "linux" {
		return fmt.Errorf("this is an image for %q: images are for linux", p.OS)
	}
	if p.Architecture != "" {
		p.OS = "linux"
		g.Platform = &p
	}
	if created == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return errors.New("the time of the image is not one of RFC 3339, such as 2026-01-31T12:00:00Z")
	}
	if t.Unix() >= 0 { // Docker prints the year 1 if an image has no time
		t = t.UTC().Truncate(time.Second)
		g.Created = &t
	}
	return nil
}

// Planned returns the image that the document describes, to continue from, if its labels have a plan. Otherwise it
// returns nil. The layers of the image cannot be read.
func (g *Given) Planned() (*oci.Image, error) {
	var container struct{ Labels map[string]string }
	if len(g.Layers) == 0 || json.Unmarshal(g.Config, &container) != nil {
		return nil, nil
	}
	if _, ok := container.Labels[chunking.LabelRecord]; !ok {
		return nil, nil
	}
	document, err := json.Marshal(map[string]any{
		"config": g.Config, "rootfs": map[string]any{"type": "layers", "diff_ids": g.Layers},
	})
	if err != nil {
		return nil, err
	}
	return oci.FromDocument(document)
}
