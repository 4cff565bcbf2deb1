package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/canonjson"
)

// documents returns the manifest and the configuration of an image in the form in which they are stored: canonical
// JSON with OCI's media types and without keys that are null. Upstream's program stores the same for documents that
// have only the keys of OCI's specification. Others are kept here, and lost there.
func documents(img *oci.Image) (manifest, config []byte, err error) {
	if manifest, err = canonical(img.Top.Raw); err != nil {
		return nil, nil, fmt.Errorf("manifest: %w", err)
	}
	if img.Top.MediaType != "" && img.Top.MediaType != ocispec.MediaTypeImageManifest {
		if manifest, err = canonjson.Marshal(img.Manifest); err != nil {
			return nil, nil, fmt.Errorf("manifest: %w", err)
		}
	}
	if config, err = canonical(img.RawConfig); err != nil {
		return nil, nil, fmt.Errorf("image configuration: %w", err)
	}
	return manifest, config, nil
}

// canonical returns JSON in canonical form, without the keys of objects that are null.
func canonical(data []byte) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return canonjson.Marshal(withoutNull(v))
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value == nil {
				delete(v, key)
				continue
			}
			v[key] = withoutNull(value)
		}
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	}
	return v
}

// created returns the time of an image in seconds since 1970: that of the manifest's annotation, or else that of the
// configuration, or else 0.
func created(img *oci.Image) uint64 {
	at := img.Config.Created
	if text, ok := img.Manifest.Annotations[ocispec.AnnotationCreated]; ok {
		var err error
		if at, err = time.Parse(time.RFC3339, text); err != nil {
			return 0
		}
	}
	return uint64(max(at.Unix(), 0))
}
